package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"braid/cmd/braid/internal/endpoint"
	"braid/cmd/braid/internal/format"
)

// serveCommand is a server on its own.
type serveCommand struct {
	env
	listen string
	drain  time.Duration // what is in flight at the first signal has this long
	cert   endpoint.Certificate
	opts   serverOptions
}

func newServe(e env) *cobra.Command {
	c := &serveCommand{env: e}
	c.opts.log = func(line string) { e.complain("%s", line) }
	cmd := &cobra.Command{
		Use:   "serve --listen ADDR",
		Short: "Keep the files that clients copy",
		Long: `serve takes files from 'braid copy' and keeps them below one directory, which no
client can leave. A file appears under its name whole and verified, or not at
all. Files that are there already stay as they are, unless --overwrite is given.

It also answers 'braid bench', which stores nothing; --bench=false leaves that out.

There is no authentication: anybody who can connect can store files. With a
certificate, connections are encrypted and clients can tell that this is the
server they mean.

It prints the address that it listens on, and ends on SIGINT or SIGTERM: what is in
flight then has ten seconds to finish (see --drain), and clients are told that
nothing new is taken. A second signal cuts what is in flight. The exit code is 130
if anything was cut, by the second signal or because its time was up.`,
		Example: `  # Over TCP, on port 7000 of every interface:
  braid serve --listen :7000 --into incoming

  # Over TLS:
  braid serve --listen :7000 --tls-cert cert.pem --tls-key key.pem

  # For this machine only, on any free port:
  braid serve --listen 127.0.0.1:0`,
		Args: arguments(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.StringVar(&c.listen, "listen", "", "listen on this `address`; port 0 takes any free one")
	flags.StringVar(&c.cert.CertFile, "tls-cert", "", "use TLS with the certificate in this `file` (PEM)")
	flags.StringVar(&c.cert.KeyFile, "tls-key", "", "the private key of the certificate is in this `file` (PEM)")
	flags.StringVar(&c.opts.into, "into", "braid-files", "keep the files in this `directory`, which is made if necessary")
	flags.BoolVar(&c.opts.overwrite, "overwrite", false, "replace files that are there already")
	flags.BoolVar(&c.opts.bench, "bench", true, "answer 'braid bench'")
	flags.DurationVar(&c.drain, "drain", 10*time.Second, "after SIGINT or SIGTERM give what is in flight this `long` to finish; 0 cuts it at once")
	flags.DurationVar(&c.opts.idle, "idle", 2*time.Minute, "close a connection that has been without a call for this `long`; 0 keeps it")
	return cmd
}

func (c *serveCommand) run(ctx context.Context) error {
	if err := c.check(); err != nil {
		return err
	}
	lis, err := endpoint.Listen(ctx, c.listen, c.cert)
	if err != nil {
		return err
	}
	srv, err := newServer(lis, c.opts)
	if err != nil {
		return fmt.Errorf("cannot use %s: %w", format.Path(c.opts.into), why(err))
	}
	dir, err := filepath.Abs(c.opts.into)
	if err != nil {
		dir = c.opts.into // still the name of it
	}
	protocol := "TCP"
	if c.cert != (endpoint.Certificate{}) {
		protocol = "TLS"
	}
	_, _ = fmt.Fprintf(c.stdout, "listening on %s (%s)\nkeeping files in %s\n", lis.Addr(), protocol, format.Path(dir))
	err = c.serve(ctx, srv)
	count := srv.service.Count()
	_, _ = fmt.Fprintf(c.stdout, "stored %s files, %s; %s uploads canceled, %s refused\n",
		format.Number(count.Stored.Load()), format.Bytes(count.StoredBytes.Load()),
		format.Number(count.Canceled.Load()), format.Number(count.Refused.Load()))
	return err
}

// serve serves until what is in flight at the first signal, which ends ctx, has
// finished, has had its time, or is cut by a second signal. The last two are errors.
func (c *serveCommand) serve(ctx context.Context, srv *server) error {
	served := make(chan error, 1)
	go func() { served <- srv.run(context.WithoutCancel(ctx)) }() // shutdown ends it
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	patience, cut := context.WithCancelCause(context.Background())
	defer cut(nil)
	limit := time.AfterFunc(c.drain, func() {
		cut(fmt.Errorf("not everything in flight finished within %v", c.drain))
	})
	defer limit.Stop()
	go func() { // until the second signal, or until there is nothing left to cut
		select {
		case <-signals:
			cut(errors.New("what was in flight was cut"))
		case <-patience.Done():
		}
	}()
	if c.drain > 0 {
		c.complain("stopping: what is in flight has %v to finish; another signal cuts it", c.drain)
	}
	err := srv.shutdown(patience)
	signal.Stop(signals) // the next one takes the usual way: there may be a handler that hangs
	if served := <-served; served != nil {
		return served
	}
	if err != nil && c.drain > 0 {
		return context.Cause(patience)
	}
	return nil
}

// check refuses flags that do not go together.
func (c *serveCommand) check() error {
	if c.listen == "" {
		return badUsage("--listen is missing")
	}
	if err := checkAddress("--listen", c.listen); err != nil {
		return err
	}
	if (c.cert.CertFile == "") != (c.cert.KeyFile == "") {
		return badUsage("--tls-cert and --tls-key have to be given together")
	}
	if c.opts.into == "" {
		return badUsage("--into is empty")
	}
	if c.opts.idle < 0 {
		return badUsage("--idle has to be 0 or more, not %v", c.opts.idle)
	}
	if c.drain < 0 {
		return badUsage("--drain has to be 0 or more, not %v", c.drain)
	}
	return nil
}
