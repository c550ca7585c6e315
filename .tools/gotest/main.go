// Command gotest runs `go test` with the arguments given, and prints what it prints
// without -v: failures, and one line a package. At the end it lists every test that was
// skipped, with its reason, which go test keeps to itself where a package passes. The
// exit status is 1 where go test's is not 0.
//
//	go run .tools/gotest/main.go -timeout 10m ./...
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) { // go test has said what failed
			fmt.Fprintln(os.Stderr, "gotest:", err)
		}
		os.Exit(1)
	}
}

func run(arguments []string) error {
	cmd := exec.Command("go", append([]string{"test", "-json"}, arguments...)...)
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	// Ctrl-C is for go test, which a terminal tells as well; what it says then is printed.
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	if err := cmd.Start(); err != nil {
		return err
	}
	report(events, os.Stdout)
	err = cmd.Wait()
	if err != nil {
		fmt.Println("FAIL")
	}
	return err
}

// event is one line of `go test -json`; see `go doc test2json`.
type event struct {
	Action, Package, Test, Output string
}

// run of a package, as far as it has come.
type packageRun struct {
	said    []event           // in order
	verdict map[string]string // by test
}

func report(events io.Reader, out io.Writer) {
	running := make(map[string]*packageRun)
	var skipped []string
	tests := 0
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				out.Write(line) // not an event: go itself says something
			} else if e.Action == "build-output" {
				io.WriteString(out, e.Output)
			} else {
				p := running[e.Package]
				if p == nil {
					p = &packageRun{verdict: make(map[string]string)}
					running[e.Package] = p
				}
				p.take(e)
				switch {
				case e.Action != "pass" && e.Action != "fail" && e.Action != "skip":
				case e.Test != "":
					tests++
					if e.Action == "skip" {
						skipped = append(skipped, e.Package+" "+e.Test+": "+p.reason(e.Test))
					}
				default:
					p.print(out, e.Action == "fail")
					delete(running, e.Package)
				}
			}
		}
		if err != nil {
			break
		}
	}
	for _, p := range running { // go test ended in the middle
		p.print(out, true)
	}
	if len(skipped) > 0 {
		fmt.Fprintf(out, "\nskipped %d of %d tests:\n", len(skipped), tests)
		for _, s := range skipped {
			fmt.Fprintln(out, "  "+s)
		}
	}
}

func (p *packageRun) take(e event) {
	switch e.Action {
	case "output":
		p.said = append(p.said, e)
	case "pass", "fail", "skip":
		p.verdict[e.Test] = e.Action
	}
}

// chatter tells whether a line is one that go test prints with -v only.
func chatter(line string) bool {
	return strings.HasPrefix(line, "=== ") || line == "PASS\n"
}

// print prints what go test would: of a package that failed all but what belongs to
// tests that passed, of others the closing line.
func (p *packageRun) print(out io.Writer, failed bool) {
	for _, e := range p.said {
		closing := strings.HasPrefix(e.Output, "ok  \t") || strings.HasPrefix(e.Output, "?   \t")
		passed := e.Test != "" && (p.verdict[e.Test] == "pass" || p.verdict[e.Test] == "skip")
		if failed && !passed && !chatter(e.Output) || e.Test == "" && closing {
			io.WriteString(out, e.Output)
		}
	}
}

// reason is what a skipped test said.
func (p *packageRun) reason(test string) string {
	var said []string
	for _, e := range p.said {
		text := strings.TrimSpace(e.Output)
		if e.Test == test && text != "" && !chatter(e.Output) && !strings.HasPrefix(text, "--- SKIP") {
			said = append(said, text)
		}
	}
	if len(said) == 0 {
		return "no reason is given"
	}
	return strings.Join(said, " ")
}
