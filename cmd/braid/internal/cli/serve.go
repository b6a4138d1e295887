package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"braid/cmd/braid/internal/endpoint"
	"braid/cmd/braid/internal/format"
)

// serveCommand is a server on its own.
type serveCommand struct {
	env
	listen string
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

There is no authentication: anybody who can connect can store files. With a
certificate, connections are encrypted and clients can tell that this is the
server they mean.

It prints the address that it listens on, and ends on SIGINT or SIGTERM.`,
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
	if err := srv.run(ctx); err != nil {
		return err
	}
	count := srv.service.Count()
	_, _ = fmt.Fprintf(c.stdout, "stored %s files, %s; %s uploads canceled, %s refused\n",
		format.Number(count.Stored.Load()), format.Bytes(count.StoredBytes.Load()),
		format.Number(count.Canceled.Load()), format.Number(count.Refused.Load()))
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
	return nil
}
