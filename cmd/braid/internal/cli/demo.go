package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"braid/cmd/braid/internal/endpoint"
	"braid/cmd/braid/internal/format"
	"braid/cmd/braid/internal/report"
	"braid/cmd/braid/internal/stall"
	"braid/cmd/braid/internal/tree"
)

// demo is a run of a server and a client in one process.
type demo struct {
	env
	load loadFlags
	dir  string
	into string // empty: a temporary directory
	keep bool   // the temporary directory
}

func newDemo(e env) *cobra.Command {
	d := &demo{env: e, dir: ".", load: loadFlags{
		uploads: 64, callers: 200, talkers: 4, cancels: 16, chunk: 32 << 10,
		// A small directory is copied before there is anything to see.
		leastCalls: 100, leastLines: 100,
	}}
	cmd := &cobra.Command{
		Use:   "demo [DIR]",
		Short: "Show many streams on one connection, with a server and a client in one process",
		Long: `demo starts a server and a client in one process and copies every regular file
of DIR, by default the current directory, over one TCP connection on the
loopback interface. Beside the copying, callers call without a pause, a chat room
chats, and some additional uploads are canceled midway.

Each file is verified by its SHA-256, as read by the client, as received by the
server, and as read back from the disk by the server. In the end a table tells
what went over the connection, how long it took and what the process needed, and
a list tells what was checked. The exit code is 0 only if all of it holds.

With more than 1,024 streams at once, those that are too many wait for their turn:
that is how many a server takes on one connection.

With --stall, two more streams are opened which nobody reads: an upload that the
server leaves alone, and a download that the client leaves alone. Their senders
push until the other end gives no more credit, and are held there, while calls,
chat and copying go on. The calls and the chat are measured for two seconds before
and for two seconds beside them, both without copying, and compared; --stall=10s
measures for longer. In the end both streams are read rather than canceled, and
verified by SHA-256: being held may cost them time, but not a byte.

The copy is in a temporary directory, which is removed in the end.`,
		Example: `  # Copy the current directory:
  braid demo

  # Copy another one, and look at the copy afterwards:
  braid demo --into /tmp/copy ~/src

  # A thousand callers, and nothing canceled:
  braid demo --callers 1000 --cancels 0

  # See what two streams that nobody reads do to the others:
  braid demo --stall`,
		Args: arguments(0, "DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				d.dir = args[0]
			}
			return d.run(cmd.Context())
		},
	}
	d.load.add(cmd.Flags())
	d.load.addStall(cmd.Flags())
	cmd.Flags().StringVar(&d.into, "into", "", "copy into this `directory`, which has to be new or empty, and keep it")
	cmd.Flags().BoolVar(&d.keep, "keep", false, "keep the temporary directory and say where it is")
	return cmd
}

func (d *demo) run(ctx context.Context) error {
	if err := d.load.check(); err != nil {
		return err
	}
	if err := d.load.checkStall(); err != nil {
		return err
	}
	if _, err := time.ParseDuration(d.dir); err == nil && d.load.stall > 0 {
		if _, err := os.Stat(d.dir); err != nil {
			return badUsage("there is no directory %s; did you mean --stall=%s?", d.dir, d.dir)
		}
	}
	if d.into != "" && d.keep {
		return badUsage("--into and --keep exclude each other: the directory of --into is kept anyway")
	}
	// Before there is a destination, which may be part of the directory.
	s, err := openSession(ctx, d.env, d.dir, d.load)
	if err != nil {
		return err
	}
	defer s.close()
	into, remove, err := d.destination()
	if err != nil {
		return err
	}
	err = d.copyInto(ctx, s, into)
	return errors.Join(err, remove())
}

// destination makes the directory for the copy, and returns what is to be done
// with it in the end.
func (d *demo) destination() (dir string, remove func() error, err error) {
	if d.into != "" {
		entries, err := os.ReadDir(d.into)
		switch {
		case err == nil && len(entries) > 0:
			return "", nil, fmt.Errorf("%s is not empty", format.Path(d.into))
		case err != nil && !os.IsNotExist(err):
			return "", nil, fmt.Errorf("cannot use %s: %w", format.Path(d.into), why(err))
		}
		return d.into, func() error { return nil }, nil
	}
	dir, err = os.MkdirTemp("", "braid-demo-")
	if err != nil {
		return "", nil, fmt.Errorf("cannot make a temporary directory: %w", err)
	}
	if d.keep {
		return dir, func() error {
			d.complain("the copy is in %s", dir)
			return nil
		}, nil
	}
	return dir, func() error { return os.RemoveAll(dir) }, nil
}

// copyInto copies the directory of the session, with a server for the purpose.
func (d *demo) copyInto(ctx context.Context, s *session, into string) error {
	lis, err := endpoint.Listen(ctx, "127.0.0.1:0", endpoint.Certificate{})
	if err != nil {
		return err
	}
	if d.load.stall > 0 {
		s.stall = stall.New()
	}
	var log errorLog
	srv, err := newServer(lis, serverOptions{into: into, stall: s.stall, log: log.add})
	if err != nil {
		return fmt.Errorf("cannot use %s: %w", format.Path(into), why(err))
	}
	// The server outlives an interruption, to see the client leave.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var done sync.WaitGroup
	var serveErr error
	done.Go(func() { serveErr = srv.run(serving) })

	rep, err := d.overLoopback(ctx, s, srv, func() error {
		stop()
		done.Wait()
		return serveErr
	})
	if err != nil {
		return err
	}
	s.checkClient(rep)
	s.checkStall(rep)
	s.checkServer(rep, srv.service.Count(), srv.lis.accepted.Load(), log.all())
	if err := d.checkDestination(ctx, rep, into); err != nil {
		return err
	}
	return s.finish(rep)
}

// overLoopback copies from the client's end. The server is stopped before the
// report is made, whatever happens.
func (d *demo) overLoopback(ctx context.Context, s *session, srv *server, stopServer func() error) (*report.Report, error) {
	tr, err := endpoint.Dial(ctx, srv.lis.Addr().String(), endpoint.Trust{})
	if err != nil {
		return nil, errors.Join(err, stopServer())
	}
	res, during, err := s.copy(ctx, tr)
	if err := errors.Join(err, stopServer()); err != nil {
		return nil, err
	}
	return s.newReport(tr, res, during), nil
}

// checkDestination looks at the copy itself, whatever anybody said about it.
func (d *demo) checkDestination(ctx context.Context, rep *report.Report, into string) error {
	root, err := os.OpenRoot(into)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	there, err := tree.List(ctx, root)
	if err != nil {
		return err
	}
	checkTree(rep, there)
	return nil
}
