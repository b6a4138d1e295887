package main

import (
	"strings"
	"testing"
)

func TestBadUsageIsExplained(t *testing.T) {
	for _, test := range []struct {
		args string
		want string
	}{
		{"nonsense", `there is no command "nonsense"`},
		{"--nonsense", "unknown flag: --nonsense"},
		{"demo --nonsense", "unknown flag: --nonsense"},
		{"demo a b", `unexpected argument "b"`},
		{"demo --uploads 0", "--uploads has to be between 1 and 512, not 0"},
		{"demo --uploads x", `invalid argument "x"`},
		{"demo --callers -1", "--callers has to be between 0"},
		{"demo --chunk 2MiB", "--chunk has to be between 1 and 1048576"},
		{"demo --chunk 0", "--chunk has to be"},
		{"demo --chunk big", `"big" is not a size such as 32KiB`},
		{"demo --keep --into x", "exclude each other"},
		{"demo --stall=soon", `invalid argument "soon"`},
		{"demo --stall=1ms", "--stall has to be between 100ms and 10m0s, not 1ms"},
		{"demo --stall=-1s", "--stall has to be between"},
		{"demo --stall=1h", "--stall has to be between"},
		{"demo --stall --callers 0", "--stall compares calls: --callers has to be at least 1"},
		{"demo --stall 5s", "there is no directory 5s; did you mean --stall=5s?"},
		{"copy --stall . host:1", "unknown flag: --stall"},
		{"copy", "missing DIR and ADDR"},
		{"copy .", "missing ADDR"},
		{"copy . nowhere", "ADDR has to be an address"},
		{"copy . host:", "ADDR has to be an address"},
		{"copy . host:99999", "not between 0 and 65535"},
		{"copy --tls-server-name x . host:1", "--tls-server-name needs --tls-ca"},
		{"serve", "--listen is missing"},
		{"serve --listen nowhere", "--listen has to be an address"},
		{"serve --listen :0 --tls-cert x", "have to be given together"},
		{"serve --listen :0 --tls-key x", "have to be given together"},
		{"serve --listen :0 --idle -1s", "--idle has to be 0 or more"},
		{"serve --listen :0 --idle soon", `invalid argument "soon"`},
		{"serve --listen :0 --drain -1s", "--drain has to be 0 or more"},
		{"serve --listen :0 --drain soon", `invalid argument "soon"`},
		{"serve --listen :0 extra", `unexpected argument "extra"`},
	} {
		t.Run(test.args, func(t *testing.T) {
			got := braid(t, strings.Fields(test.args)...)
			got.expect(t, 2, test.want, " --help'")
			if got.stdout != "" {
				t.Errorf("on stdout there is %q", got.stdout)
			}
		})
	}
}

func TestHelpHasExamples(t *testing.T) {
	for _, args := range [][]string{{}, {"--help"}, {"demo", "--help"}, {"serve", "-h"}, {"help", "copy"}} {
		got := braid(t, args...)
		got.expect(t, 0, "Usage:", "Examples:", "  braid ")
		if got.stderr != "" {
			t.Errorf("%v: on stderr there is %q", args, got.stderr)
		}
	}
}

func TestVersionNamesTheBuild(t *testing.T) {
	braid(t, "--version").expect(t, 0, "braid ", ", go1.")
}
