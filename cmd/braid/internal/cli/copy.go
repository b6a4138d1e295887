package cli

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"braid/cmd/braid/internal/endpoint"
)

// copyCommand is a client of a server elsewhere.
type copyCommand struct {
	env
	load  loadFlags
	trust endpoint.Trust
}

func newCopy(e env) *cobra.Command {
	// One caller: its latencies show what is left for others while the
	// connection is busy.
	c := &copyCommand{env: e, load: loadFlags{uploads: 64, callers: 1, chunk: 32 << 10}}
	cmd := &cobra.Command{
		Use:   "copy DIR ADDR",
		Short: "Copy a directory to a server over one connection",
		Long: `copy copies every regular file of DIR to a 'braid serve' at ADDR, over one
connection. Each file is verified by its SHA-256, as read here, as received there
and as read back from the disk there.

A file that cannot be read or that the server refuses is named, the others are
copied, and the exit code is 1. A copy that was interrupted can be repeated; the
files that arrived are complete, and a server without --overwrite refuses them. The
same holds if the server shuts down meanwhile: what is on its way still arrives.`,
		Example: `  # Over TCP:
  braid copy photos 192.0.2.7:7000

  # Over TLS, to a server whose certificate was issued by ca.pem:
  braid copy --tls-ca ca.pem photos files.example.org:7000

  # With the load of the demo beside it:
  braid copy --callers 200 --talkers 4 --cancels 16 photos localhost:7000`,
		Args: arguments(2, "DIR", "ADDR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.run(cmd.Context(), args[0], args[1])
		},
	}
	c.load.add(cmd.Flags())
	addTrust(cmd.Flags(), &c.trust)
	return cmd
}

func (c *copyCommand) run(ctx context.Context, dir, addr string) error {
	if err := c.load.check(); err != nil {
		return err
	}
	if err := checkAddress("ADDR", addr); err != nil {
		return err
	}
	if c.trust.ServerName != "" && c.trust.CAFile == "" {
		return badUsage("--tls-server-name needs --tls-ca")
	}
	s, err := openSession(ctx, c.env, dir, c.load)
	if err != nil {
		return err
	}
	defer s.close()
	tr, err := endpoint.Dial(ctx, addr, c.trust)
	if err != nil {
		return err
	}
	res, during, err := s.copy(ctx, tr)
	if err != nil {
		return err
	}
	rep := s.newReport(tr, res, during)
	s.checkClient(rep)
	return s.finish(rep)
}

// addTrust defines the flags of a client for TLS.
func addTrust(flags *pflag.FlagSet, trust *endpoint.Trust) {
	flags.StringVar(&trust.CAFile, "tls-ca", "", "use TLS, and trust the certificates in this `file` (PEM)")
	flags.StringVar(&trust.ServerName, "tls-server-name", "", "expect a certificate for this `name` instead of the host in ADDR")
}
