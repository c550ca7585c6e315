package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	_ "time/tzdata" // outlets have time zones, and not every machine has them

	"github.com/alecthomas/kong"

	"raffsync/cmd/raffsync/bench"
	"raffsync/cmd/raffsync/demo"
	"raffsync/cmd/raffsync/publish"
	"raffsync/cmd/raffsync/torture"
)

// commandLine is every command and the flags that all of them share.
type commandLine struct {
	Database string `help:"Postgres to use, as a URL; an embedded one where neither this, DATABASE_URL nor the configuration says which." env:"DATABASE_URL" placeholder:"URL"`
	Unsafe   bool   `name:"unsafe-postgres" hidden:"" help:"Accept a Postgres that may lose what it has committed. For tests." env:"RAFFSYNC_UNSAFE_POSTGRES"`
	State    string `help:"Folder for what this machine keeps: the demo's key and login, where the embedded Postgres is." default:"${state}" type:"path"`

	SecretKey string `help:"Key that seals what platforms give to destinations, or a reference to it (file:PATH): 32 bytes in base64, several with commas, the newest first. Made in the state folder for an embedded Postgres." env:"RAFFSYNC_SECRET_KEY" placeholder:"KEY"`

	Serve      serveCommand      `cmd:"" help:"Run broker, dispatcher and API."`
	Demo       demoCommand       `cmd:"" help:"Run everything, with a demo shop and three simulated platforms."`
	Publish    publish.Command   `cmd:"" help:"Stream events from a file to a broker."`
	Send       sendCommand       `cmd:"" help:"Sign a webhook as its sender would, post it, and tell what became of it."`
	Quarantine quarantineCommand `cmd:"" help:"List webhooks of which no event can be made, and evaluate them again."`
	Receive    receiveCommand    `cmd:"" help:"Run a webhook receiver that counts, to try things with."`
	Story      storyCommand      `cmd:"" help:"Tell all about an order number, an event or an ordering key."`
	Preview    previewCommand    `cmd:"" help:"Show what would be sent of an order or event, and send nothing."`
	Shadow     shadowCommand     `cmd:"" help:"Add up what routes in shadow would have sent, and what they lack."`
	Exceptions exceptionsCommand `cmd:"" help:"List what needs a person, and show what to do next."`
	Pause      pauseCommand      `cmd:"" help:"Hold a source, a route or a destination until it is resumed."`
	Resume     resumeCommand     `cmd:"" help:"Let go on what was paused."`
	Breaker    breakerCommand    `cmd:"" help:"Hold a destination's breaker open or closed, or let go of it."`
	Check      checkCommand      `cmd:"" help:"Check a configuration file."`
	Apply      applyCommand      `cmd:"" help:"Put a configuration file in force."`
	Replay     replayCommand     `cmd:"" help:"Make new deliveries from old events."`
	Retry      retryCommand      `cmd:"" help:"Try now what has failed, one delivery or many."`
	Reprocess  reprocessCommand  `cmd:"" help:"Prepare again what has failed, by today's mappings and routes."`
	Skip       skipCommand       `cmd:"" help:"End deliveries that have failed, without sending them."`
	Edit       editCommand       `cmd:"" help:"Change fields for one delivery that has failed, and prepare it again."`
	Edits      editsCommand      `cmd:"" help:"List edits; approve or reject those that need a second person."`
	Redirect   redirectCommand   `cmd:"" help:"Send the event of a delivery that has failed to another destination instead."`
	Jobs       jobsCommand       `cmd:"" help:"List, show, pause and cancel what is done with many deliveries at once."`
	Keys       keysCommand       `cmd:"" help:"Create, list and revoke the keys of sources; give operators a login."`
	Alerts     alertsCommand     `cmd:"" help:"Print alert rules for Prometheus."`
	Migrate    migrateCommand    `cmd:"" help:"Bring the database to this program's version."`
	Reset      resetCommand      `cmd:"" help:"Delete what this folder's installation keeps, after asking."`
	Bench      benchCommand      `cmd:"" help:"Measure this program on this machine, against what one would use instead."`
	Version    versionCommand    `cmd:"" help:"Print the version."`

	MarkDelivered markDeliveredCommand `cmd:"" help:"Say that the platform has what a failed delivery was for, and by what name."`
	SendAnyway    sendAnywayCommand    `cmd:"" help:"Say that the platform has nothing of a delivery of unknown outcome, and send it."`

	Mappings    mappingsCommand    `cmd:"" help:"Say what values are called at destinations: SKUs, taxes, customers."`
	Connect     connectCommand     `cmd:"" help:"Connect a destination to its platform, with somebody's consent."`
	Connections connectionsCommand `cmd:"" help:"List, show and end the connections of destinations."`

	Platform    demo.PlatformCommand `cmd:"" hidden:"" help:"Run one simulated platform."`
	BenchEngine benchEngineCommand   `cmd:"" hidden:"" help:"Serve a round of the bench."`
	Torture     torture.Command      `cmd:"" hidden:"" help:"Have everything go wrong, and check that every promise was kept."`
}

func main() { os.Exit(run(os.Args[1:])) }

// run returns the exit status: 0 done, 1 failed, 2 not understood; commands may have
// more, which their help names.
func run(arguments []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)

	var line commandLine
	parser, err := kong.New(&line,
		kong.Name("raffsync"),
		kong.Description("Keeps a business's systems in step when they fail: no silent failures, no duplicates, no \"it probably synced\"."),
		kong.Vars{"state": defaultState, "redirect": defaultRedirect, "bench_names": bench.Names()},
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	if err != nil {
		panic(err) // the struct above is wrong
	}
	if len(arguments) == 0 {
		arguments = []string{"--help"}
	}
	parsed, err := parser.Parse(arguments)
	if err != nil {
		fmt.Fprintf(os.Stderr, "raffsync: %v\nsee %s --help\n", err, understood(err))
		return 2
	}
	if err := parsed.Run(&line); err != nil {
		fmt.Fprintln(os.Stderr, "raffsync:", err)
		var coded interface{ ExitCode() int }
		var ofAnother *exec.ExitError // has the method too, and means another program
		if errors.As(err, &coded) && !errors.As(err, &ofAnother) {
			return coded.ExitCode()
		}
		return 1
	}
	return 0
}

// understood is the part of a command line that was understood, whose help helps.
func understood(err error) string {
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil {
		if node := parse.Context.Selected(); node != nil {
			return node.FullPath()
		}
	}
	return "raffsync"
}
