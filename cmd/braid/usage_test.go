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
		{"bench", "missing ADDR"},
		{"bench a:1 b:1", `unexpected argument "b:1"`},
		{"bench nowhere", "ADDR has to be an address"},
		{"bench host:99999", "not between 0 and 65535"},
		{"bench --work nonsense host:1", `--work has to be unary, upload, download or ping-pong, not "nonsense"`},
		{"bench --client grpc host:1", `--client has to be braid or stock, not "grpc"`},
		{"bench --size -1 host:1", `"-1" is not a size`},
		{"bench --size 4097KiB host:1", "--size has to be between 0 and 4194304, not 4195328"},
		{"bench --size 99999999999999999999 host:1", "is not a size"},
		{"bench --size 8GiB host:1", "is not a size"},
		{"bench --callers 0 host:1", "--callers has to be between 1 and 10000, not 0"},
		{"bench --callers -5 host:1", "--callers has to be between 1"},
		{"bench --callers 10001 host:1", "--callers has to be between 1"},
		{"bench --callers 99999999999999999999 host:1", "value out of range"},
		{"bench --work upload --streams 0 host:1", "--streams has to be between 1"},
		{"bench --work upload --callers 2 host:1", "--callers is not for upload: give --streams"},
		{"bench --streams 2 host:1", "--streams is not for unary: give --callers"},
		{"bench --work upload --streams 1001 host:1", "--streams 1001 is too many for --conns 1: a connection takes 1000"},
		{"bench --conns 0 host:1", "--conns has to be between 1"},
		{"bench --conns 65 host:1", "--conns 65 is more than there are --callers (64)"},
		{"bench --conns 2 --work upload host:1", "--conns 2 is more than there are --streams (1)"},
		{"bench --conns 2 --client stock host:1", "--conns is not for --client stock"},
		{"bench --duration 0 host:1", "--duration has to be between 1ms and 24h0m0s, not 0s"},
		{"bench --duration -1s host:1", "--duration has to be between"},
		{"bench --duration 25h host:1", "--duration has to be between"},
		{"bench --duration soon host:1", `invalid argument "soon"`},
		{"bench --duration 999999999999h host:1", "invalid argument"},
		{"bench --count 0 host:1", "--count has to be between 1 and 1000000000000, not 0"},
		{"bench --count -1 host:1", "--count has to be between"},
		{"bench --count 1000000000001 host:1", "--count has to be between"},
		{"bench --count 99999999999999999999 host:1", "value out of range"},
		{"bench --count 1 --duration 1s host:1", "--duration and --count exclude each other"},
		{"bench --warmup -1s host:1", "--warmup has to be 0 or between"},
		{"bench --warmup 25h host:1", "--warmup has to be 0 or between"},
		{"bench --timeout -1s host:1", "--timeout has to be 0 or between"},
		{"bench --timeout 1ns host:1", "--timeout has to be 0 or between 1µs and 24h0m0s, not 1ns"},
		{"bench --interval 1ms host:1", "--interval has to be 0 or between 100ms"},
		{"bench --rate -1 host:1", "--rate has to be 0 or between 0.001 and 10000000 a second, not -1"},
		{"bench --rate NaN host:1", "--rate has to be 0 or between"},
		{"bench --rate +Inf host:1", "--rate has to be 0 or between"},
		{"bench --rate 1e400 host:1", "value out of range"},
		{"bench --rate 10000001 host:1", "--rate has to be 0 or between"},
		{"bench --rate 0.0001 host:1", "--rate has to be 0 or between"},
		{"bench --rate fast host:1", `invalid argument "fast"`},
		{"bench --rate 5 --work upload host:1", "--rate is for unary and ping-pong: with upload the connection sets the pace"},
		{"bench --rate 5 --work download host:1", "--rate is for unary and ping-pong"},
		{"bench --rate 5 --arrival random host:1", `--arrival has to be constant or poisson, not "random"`},
		{"bench --arrival poisson host:1", "--arrival needs --rate"},
		{"bench --queue 5 host:1", "--queue needs --rate"},
		{"bench --queue 5 --rate 0 host:1", "--queue needs --rate"},
		{"bench --queue 0 --rate 5 host:1", "--queue has to be between 1"},
		{"bench --queue 100000001 --rate 5 host:1", "--queue has to be between 1 and 100000000"},
		{"bench --max-errors -1 host:1", "--max-errors has to be between 0"},
		{"bench --method Call host:1", `--method has to be the name of an rpc, such as /package.Service/Method, not "Call"`},
		{"bench --method / host:1", "--method has to be the name of an rpc"},
		{"bench --method= host:1", "--method has to be the name of an rpc"},
		{"bench --method /" + strings.Repeat("x", 1024) + " host:1", "--method has 1025 bytes, and an rpc has at most 1024"},
		{"bench --method /a/b --work upload host:1", "--method is for unary calls"},
		{"bench --method /a/b --size 5 host:1", "--size and --method exclude each other"},
		{"bench --method /a/b --data x --data-file y host:1", "--data and --data-file exclude each other"},
		{"bench --data x host:1", "--data needs --method"},
		{"bench --data-file x host:1", "--data-file needs --method"},
		{"bench --tls-server-name x host:1", "--tls-server-name needs --tls-ca"},
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
	for _, args := range [][]string{{}, {"--help"}, {"demo", "--help"}, {"serve", "-h"}, {"help", "copy"}, {"bench", "--help"}} {
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
