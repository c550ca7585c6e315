package publish

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"raffsync/connectors/filesource"
)

// keyVariable may hold the key where no file is named.
const keyVariable = "RAFFSYNC_KEY"

// maxKeyFileBytes is far more than a key has: a larger file is the wrong one.
const maxKeyFileBytes = 4096

func (c *Command) key() (string, error) {
	text := os.Getenv(keyVariable)
	if c.KeyFile != "" {
		file, err := os.Open(c.KeyFile)
		if err != nil {
			return "", fmt.Errorf("the key can't be read: %w", err)
		}
		defer file.Close()
		content, err := io.ReadAll(io.LimitReader(file, maxKeyFileBytes+1))
		if err != nil {
			return "", fmt.Errorf("the key can't be read: %w", err)
		}
		if len(content) > maxKeyFileBytes {
			return "", fmt.Errorf("%s is no key file: it has more than %d bytes", c.KeyFile, maxKeyFileBytes)
		}
		text = string(content)
	}
	if text = strings.TrimSpace(text); text == "" {
		if c.KeyFile != "" {
			return "", fmt.Errorf("%s holds no key: make one with `raffsync keys create`", c.KeyFile)
		}
		return "", fmt.Errorf("there is no key: give --key-file FILE or set %s; `raffsync keys create` makes one, and the demo's is .raffsync/demo.key", keyVariable)
	}
	return text, nil
}

// certificates are how the broker is verified; nil leaves it to the client.
func (c *Command) certificates() (*tls.Config, error) {
	if c.CA == "" {
		return nil, nil
	}
	if c.AllowPlaintext {
		return nil, errors.New("--ca and --allow-plaintext exclude each other: leave one out")
	}
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, fmt.Errorf("the broker's certificates can't be read: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate: it must be PEM, beginning with -----BEGIN CERTIFICATE-----", c.CA)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}, nil
}

// input is the file, counted while it is read.
type input struct {
	name string
	// size in bytes, as it is stored; 0 where it is not known.
	size   int64
	info   os.FileInfo
	read   atomic.Int64
	ctx    context.Context
	source io.Reader
	close  func()
}

// Read fails once the context is done: nobody wants the rest then.
func (in *input) Read(p []byte) (int, error) {
	if err := in.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := in.source.Read(p)
	in.read.Add(int64(n))
	return n, err
}

func (c *Command) open(ctx context.Context) (*input, error) {
	if c.File == "-" {
		return &input{name: "standard input", ctx: ctx, source: c.Stdin, close: func() {}}, nil
	}
	file, err := os.Open(c.File)
	if err != nil {
		return nil, fmt.Errorf("the file can't be read: %w", err)
	}
	info, err := file.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a folder: name a file", c.File)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	in := &input{name: filepath.Base(c.File), ctx: ctx, info: info, source: file, close: func() { file.Close() }}
	if info.Mode().IsRegular() {
		in.size = info.Size()
	}
	return in, nil
}

// reader turns the flags into the mapping.
func (c *Command) reader(in *input) (*filesource.Reader, error) {
	cfg := filesource.Config{
		Input: in, ID: c.ID, Type: c.Type, OrderingKey: c.OrderingKey, Time: c.Time, TimeFormat: c.TimeFormat,
		Outlet: c.Outlet, Payload: c.Payload, MaxEventBytes: c.MaxEventBytes, MaxBytes: c.MaxBytes,
	}
	if c.Format != "auto" {
		cfg.Format = filesource.Format(c.Format)
	}
	switch comma, size := utf8.DecodeRuneInString(c.Delimiter); {
	case c.Delimiter == "tab":
		cfg.Comma = '\t'
	case c.Delimiter != "" && size != len(c.Delimiter):
		return nil, fmt.Errorf("--delimiter %q: give one character, or tab", c.Delimiter)
	default:
		cfg.Comma = comma
	}
	if c.TimeZone != "" {
		zone, err := time.LoadLocation(c.TimeZone)
		if err != nil {
			return nil, fmt.Errorf("--time-zone %q: give a name of the tz database, such as Asia/Jakarta: %w", c.TimeZone, err)
		}
		cfg.TimeZone = zone
	}
	for _, rule := range c.TypeIf {
		// A type has no "=", an id may.
		i := strings.LastIndex(rule, "=")
		if i < 0 {
			return nil, fmt.Errorf("--type-if %q: write ID=TYPE, such as 'C*=invoice.cancelled'", rule)
		}
		cfg.TypeIf = append(cfg.TypeIf, filesource.TypeRule{ID: rule[:i], Type: rule[i+1:]})
	}
	for _, reference := range c.Reference {
		name, template, found := strings.Cut(reference, "=")
		if _, twice := cfg.References[name]; !found || twice {
			return nil, fmt.Errorf("--reference %q: write NAME=TEMPLATE, such as invoice={InvoiceNo}, each name once", reference)
		}
		if cfg.References == nil {
			cfg.References = map[string]string{}
		}
		cfg.References[name] = template
	}
	r, err := filesource.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("the flags don't say how to make events: %w; see raffsync publish --help", err)
	}
	return r, nil
}
