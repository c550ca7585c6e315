package main

import (
	"fmt"
	"os"
	"strings"

	"raffsync/outbox"
)

// afterRestore is what a start after a restore has done, and what is to be done next.
func afterRestore(restored []outbox.Restored, line *commandLine) string {
	var b strings.Builder
	if len(restored) == 0 {
		return "the restored database holds no tenant: there is nothing to make safe\n"
	}
	b.WriteString("This database was restored from a backup, and the world is ahead of it.\n\n")
	for _, r := range restored {
		fmt.Fprintf(&b, "tenant %s\n  paused destinations: %s\n  open deliveries whose outcome is unknown from now on: %d\n", r.Tenant, firstOf(strings.Join(r.Paused, ", "), "none"), r.Unknown)
		if r.Replays > 0 {
			fmt.Fprintf(&b, "  paused replays: %d; cancel them, since what they made is not known either\n", r.Replays)
		}
	}
	fmt.Fprintf(&b, `
What to do next:
  1. Have each source publish again what it sent since before the backup was taken. What
     is known is recognised as a duplicate; the rest is accepted, and waits.
  2. Then stop this process and start it with --after-restore once more: what was
     published again may have been sent before, too, and is asked about in the same way.
  3. Resume one destination after the other, and look at what becomes of it:
`)
	for _, r := range restored {
		for _, name := range r.Paused {
			command := []string{"resume", "destination", name, "--reason", "restored, and looked at"}
			if len(restored) > 1 {
				command = append(command, "--tenant", r.Tenant)
			}
			fmt.Fprintf(&b, "       %s\n", typed(os.Args[0], line, command...))
		}
	}
	b.WriteString("     Where a platform can be asked, it is. Where it recognises repeats, the same request\n     goes out again under the same key. Otherwise a person decides.\n\n")
	return b.String()
}
