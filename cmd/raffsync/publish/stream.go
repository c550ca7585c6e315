package publish

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"raffsync/connectors/client"
	"raffsync/connectors/filesource"
)

// clientName is what operators see.
const clientName = "raffsync publish"

// stream is the client's configuration, as far as the flags give it.
func (c *Command) stream() (cfg client.Config, err error) {
	cfg = client.Config{
		Target: c.To, Name: clientName, AllowPlaintext: c.AllowPlaintext, GiveUpAfter: c.GiveUpAfter,
		// Progress shows why nothing moves, and the end says why it did not.
		Logger: slog.New(slog.DiscardHandler),
	}
	if cfg.Key, err = c.key(); err == nil {
		cfg.TLS, err = c.certificates()
	}
	return cfg, err
}

// publish streams the events and waits for their acknowledgements. It returns
// errInterrupted when ctx ended first.
func (c *Command) publish(ctx context.Context, reader *filesource.Reader, in *input, r *report, cfg client.Config) error {
	cfg.OnResult = r.result
	stream, err := client.New(cfg)
	if err != nil {
		return err
	}
	// The stream outlives an interruption: what is due shall still come.
	streaming, stop := context.WithCancel(context.WithoutCancel(ctx))
	ran := make(chan error, 1)
	go func() { ran <- stream.Run(streaming) }()
	shown := c.showProgress(reader, in, stream)

	// Reading from standard input can't be interrupted: this goroutine may wait in it
	// until the process ends. The client and the report are closed to it by then.
	read := make(chan error, 1)
	go func() { read <- feed(ctx, reader, stream, r) }()
	var failure error
	running := true
	select {
	case err = <-read:
	case <-ctx.Done():
		err = ctx.Err()
	case failure = <-ran:
		running = false
	}
	if running {
		failure = c.finish(ctx, stream)
		stop()
		failure = or(<-ran, failure)
	}
	stop()
	shown()

	stats := stream.Stats()
	r.stream(stats)
	switch {
	// A stream that failed is why Send did, and is mended first.
	case failure != nil && ctx.Err() == nil:
		return failure
	case ctx.Err() != nil:
		return errInterrupted
	default:
		return err
	}
}

// finish waits until everything is acknowledged; from an interruption on not for long.
func (c *Command) finish(ctx context.Context, stream *client.Client) error {
	closing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(c.Grace, cancel) })()
	return stream.Close(closing)
}

// feed sends the events of the file. Its error ends the run; what concerns single
// events goes to the report.
func feed(ctx context.Context, reader *filesource.Reader, stream *client.Client, r *report) error {
	for event, err := range reader.Events() {
		if err == nil {
			err = stream.Send(ctx, event)
		}
		if err != nil && !r.unsendable(event, err) {
			var unreadable *filesource.InputError
			if errors.As(err, &unreadable) {
				return fmt.Errorf("%s: %w", r.file, err)
			}
			return err
		}
	}
	return nil
}
