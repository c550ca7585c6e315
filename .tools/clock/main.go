// Command clock makes an overlay by which a program can be built whose clock is wrong by as
// many seconds as RAFFSYNC_CLOCK_OFFSET says, in all of its packages and those that they
// use:
//
//	go build -overlay "$(go run .tools/clock/main.go bin/_clock)" ./cmd/raffsync
//
// The folder begins with _, so that it is no package of ours.
//
// Only the time of day is wrong. Durations and timers go by the monotonic clock, as they do
// where somebody sets a machine's clock. It is for the torture: no program that is for use
// is built so.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// What is added to package time, and where.
const (
	now    = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	offset = "\tsec += clockOffset\n"
	file   = `package time

import "syscall"

// clockOffset is by how many seconds this program's clock is wrong.
var clockOffset = func() (offset int64) {
	text, _ := syscall.Getenv("RAFFSYNC_CLOCK_OFFSET")
	negative := len(text) > 0 && text[0] == '-'
	if negative {
		text = text[1:]
	}
	for _, digit := range text {
		offset = 10*offset + int64(digit-'0')
	}
	if negative {
		return -offset
	}
	return offset
}()
`
)

func main() {
	overlay, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "clock:", err)
		os.Exit(1)
	}
	fmt.Println(overlay)
}

// run writes the overlay into a folder, and returns the name of the file that -overlay
// takes.
func run(arguments []string) (string, error) {
	if len(arguments) != 1 {
		return "", errors.New("expected the folder that the overlay goes into")
	}
	folder, err := filepath.Abs(arguments[0])
	if err != nil {
		return "", err
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	source := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	text, err := os.ReadFile(filepath.Join(source, "time.go"))
	if err != nil {
		return "", err
	}
	if strings.Count(string(text), now) != 1 {
		return "", fmt.Errorf("%s/time.go is not as this was made for: time.Now does not begin as expected", source)
	}
	files := map[string]string{
		"time.go":         strings.Replace(string(text), now, now+offset, 1),
		"clock_offset.go": file,
	}
	replaced := make(map[string]string)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	for name, text := range files {
		replaced[filepath.Join(source, name)] = filepath.Join(folder, name)
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, "overlay.json")
	return path, os.WriteFile(path, overlay, 0o644)
}
