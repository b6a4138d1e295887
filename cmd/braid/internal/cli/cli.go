// Package cli is the command line of braid: its commands, flags, messages and
// exit codes.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"braid/cmd/braid/internal/format"
)

// The exit codes.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitInterrupted = 130 // as shells have it for SIGINT
)

// usageError is an error in the arguments rather than of the work.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// badUsage makes a usageError.
func badUsage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// env is what a command has of the world around it.
type env struct {
	stdout, stderr io.Writer
}

// complain tells the user what is wrong, or what is noteworthy.
func (e env) complain(text string, args ...any) {
	_, _ = fmt.Fprintf(e.stderr, "braid: %s\n", format.Line(fmt.Sprintf(text, args...)))
}

// Main runs the command that args ask for and returns the exit code.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal ends things in order; a second one takes the usual way,
	// unless the command has a use for it.
	context.AfterFunc(ctx, stop)

	e := env{stdout: stdout, stderr: stderr}
	root := newRoot(e)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	return e.exit(ctx, cmd, err)
}

// exit says what went wrong, if anything, and returns the exit code.
func (e env) exit(ctx context.Context, cmd *cobra.Command, err error) int {
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		e.complain("%v", err)
		e.complain("see '%s --help'", cmd.CommandPath())
		return exitUsage
	case ctx.Err() != nil:
		e.complain("interrupted: %v", err)
		return exitInterrupted
	}
	e.complain("%v", err)
	return exitFailure
}

// why returns what is wrong with a file, without its path.
func why(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
