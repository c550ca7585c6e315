package bench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Machine is where the figures come from. What this system does not tell is empty.
type Machine struct {
	CPU       string `json:"cpu"`
	Cores     int    `json:"cores"`
	MemoryMiB int    `json:"memory_mib"`
	System    string `json:"system"`
	Kernel    string `json:"kernel"`
	Go        string `json:"go"`
	Postgres  string `json:"postgres"`
	// Settings are those of Postgres that decide about durability and speed.
	Settings map[string]string `json:"settings"`
	// River is the peer's version; empty where it was not run.
	River string `json:"river,omitempty"`
}

// settings that are shown, in this order.
var settings = []string{
	"fsync", "synchronous_commit", "full_page_writes", "wal_sync_method",
	"shared_buffers", "max_wal_size", "checkpoint_timeout",
}

func (m Machine) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s, %d cores, %d MiB, %s %s, %s\nPostgres %s", m.CPU, m.Cores, m.MemoryMiB, m.System, m.Kernel, m.Go, m.Postgres)
	for _, name := range settings {
		fmt.Fprintf(&text, ", %s %s", name, m.Settings[name])
	}
	if m.River != "" {
		fmt.Fprintf(&text, "; River %s", m.River)
	}
	return text.String()
}

func describeMachine(ctx context.Context, db *pgx.Conn, postgres string) (Machine, error) {
	m := Machine{
		CPU: procValue("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(),
		MemoryMiB: procKiB("/proc/meminfo", "MemTotal") >> 10,
		System:    runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(), Postgres: postgres,
		Settings: make(map[string]string),
	}
	if m.CPU == "" {
		m.CPU = "unknown CPU"
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(release))
	}
	for _, name := range settings {
		var value string
		if err := db.QueryRow(ctx, `SELECT current_setting($1)`, name).Scan(&value); err != nil {
			return m, err
		}
		m.Settings[name] = value
	}
	return m, nil
}

// procValue reads a "name: value" of a file of the kernel; empty where it has none.
func procValue(path, name string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		key, value, found := strings.Cut(lines.Text(), ":")
		if found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// procKiB reads a value in kB; 0 where there is none.
func procKiB(path, name string) int {
	n, _ := strconv.Atoi(strings.TrimSuffix(procValue(path, name), " kB"))
	return n
}
