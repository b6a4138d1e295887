package cli

import (
	"fmt"
	"strings"

	"braid/cmd/braid/internal/format"
	"braid/cmd/braid/internal/report"
	"braid/cmd/braid/internal/service"
	"braid/cmd/braid/internal/tree"
)

// check adds something that has to hold to a report. The text says what was
// found, so that it explains a failure as well.
func check(rep *report.Report, ok bool, text string, args ...any) {
	rep.Checks = append(rep.Checks, report.Check{OK: ok, What: format.Line(fmt.Sprintf(text, args...))})
}

// checkClient adds what the client can tell by itself.
func (s *session) checkClient(rep *report.Report) {
	res := rep.Result
	check(rep, len(res.Copied) == rep.Files && res.Failed == 0 && rep.Unreadable == 0,
		"%s of %s files: one SHA-256 as read, as received and as read back",
		format.Number(int64(len(res.Copied))), format.Number(int64(rep.Files+rep.Unreadable)))
	if s.load.cancels > 0 {
		check(rep, res.Canceled == s.load.cancels && res.CancelErr == nil,
			"%s of %s canceled uploads were noticed by the server%s",
			format.Number(int64(res.Canceled)), format.Number(int64(s.load.cancels)), because(res.CancelErr))
	}
	if s.load.callers > 0 {
		check(rep, res.CallErr == nil, "%s calls by %s callers: each answer belongs to its question%s",
			format.Number(res.Calls.Latency.Count), format.Number(int64(s.load.callers)), because(res.CallErr))
	}
	if s.load.talkers > 0 {
		check(rep, res.ChatErr == nil, "%s lines of chat: each was heard by all %s talkers, in order%s",
			format.Number(res.Chat.Latency.Count), format.Number(int64(s.load.talkers)), because(res.ChatErr))
	}
	check(rep, rep.After.Goroutines <= rep.Before.Goroutines,
		"%s goroutines before, %s after the connection was closed",
		format.Number(int64(rep.Before.Goroutines)), format.Number(int64(rep.After.Goroutines)))
}

// leastShare is what a demo has to make of its calls beside the streams that nobody
// reads. Were they to hold the others up, it would be nothing; what else is going on
// on a machine costs less than this.
const leastShare = 0.1

// checkStall adds what is to be said of streams that nobody read.
func (s *session) checkStall(rep *report.Report) {
	st := rep.Result.Stall
	if st == nil {
		return
	}
	for _, h := range st.Streams {
		check(rep, h.Err == nil, "stalled %s: held after %s; later %s arrived, with one SHA-256%s",
			h.Name, format.Bytes(h.Bytes), format.Bytes(h.Total), because(h.Err))
	}
	before := float64(st.Before.Calls.Count) / st.Before.Elapsed.Seconds()
	during := float64(st.During.Calls.Count) / st.During.Elapsed.Seconds()
	check(rep, during > 0 && during >= leastShare*before,
		"%s calls a second before the stall, %s during it",
		format.Number(int64(before)), format.Number(int64(during)))
}

// checkServer adds what a server in the same process knows.
func (s *session) checkServer(rep *report.Report, count *service.Count, accepted int64, log []string) {
	check(rep, accepted == 1, "%s connection was accepted", format.Number(accepted))
	check(rep, count.Stored.Load() == int64(len(rep.Result.Copied)) &&
		count.StoredBytes.Load() == rep.Result.Bytes,
		"the server stored %s files, %s", format.Number(count.Stored.Load()), format.Bytes(count.StoredBytes.Load()))
	// An upload that failed for a reason of the client's was canceled by it,
	// one that failed for a reason of the server's was refused.
	canceled, refused := count.Canceled.Load(), count.Refused.Load()
	wanted := int64(s.load.cancels)
	check(rep, canceled >= wanted && canceled+refused <= wanted+int64(rep.Result.Failed),
		"the server saw %s uploads canceled and refused %s", format.Number(canceled), format.Number(refused))
	if len(log) > 0 {
		check(rep, false, "the server reports: %s", strings.Join(log, "; "))
	}
}

// checkTree compares what is in the destination with what was copied.
func checkTree(rep *report.Report, there *tree.Listing) {
	expected := make(map[string]int64, len(rep.Result.Copied))
	for _, f := range rep.Result.Copied {
		expected[f.Path] = f.Size
	}
	match := 0
	for _, f := range there.Files {
		if size, ok := expected[f.Path]; ok && size == f.Size {
			match++
		}
	}
	other := len(there.Files) - match + len(there.Skipped) + len(there.Unreadable)
	check(rep, match == len(expected) && other == 0,
		"the directory holds %s of the %s files, and %s other things",
		format.Number(int64(match)), format.Number(int64(len(expected))), format.Number(int64(other)))
}

// because adds the reason of a failure, if there is one.
func because(err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprintf(" (%v)", err)
}
