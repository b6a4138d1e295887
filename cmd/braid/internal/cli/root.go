package cli

import (
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// newRoot returns the command that has the others.
func newRoot(e env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "braid",
		Short: "Copy directories over one connection that carries many streams, and measure DRPC servers",
		Long: `braid copies directories over a single connection on which uploads, calls and
a chat run side by side, each on a stream of its own. It also makes load on any DRPC
server, and measures it.

It exits with 0 if everything was copied and verified, or if no call failed; 1 if
something failed; 2 if the arguments are wrong; and 130 if it was interrupted.`,
		Example: `  # See it work, with a server and a client in one process:
  braid demo

  # Between two machines:
  braid serve --listen :7000 --into incoming
  braid copy DIR host:7000

  # How many calls a second does that server take, and how long do they take?
  braid bench host:7000`,
		Version:       version(),
		SilenceErrors: true, // said by exit, once
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return badUsage("there is no command %q", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SetOut(e.stdout)
	cmd.SetErr(e.stderr)
	cmd.SetVersionTemplate("{{.Version}}\n")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	cmd.AddCommand(newDemo(e), newServe(e), newCopy(e), newBench(e))
	return cmd
}

// arguments makes the check that a command has as many arguments as it takes.
func arguments(least int, names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) > len(names):
			return badUsage("unexpected argument %q", args[len(names)])
		case len(args) < least:
			return badUsage("missing %s", strings.Join(names[len(args):], " and "))
		}
		return nil
	}
}

// version tells which build this is.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "braid (unknown build)"
	}
	settings := make(map[string]string)
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	v := fmt.Sprintf("braid %s, %s %s/%s", info.Main.Version,
		info.GoVersion, settings["GOOS"], settings["GOARCH"])
	if revision := settings["vcs.revision"]; revision != "" {
		v += ", revision " + revision
		if settings["vcs.modified"] == "true" {
			v += " with changes"
		}
	}
	return v
}
