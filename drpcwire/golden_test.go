package drpcwire_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/zeebo/assert"
	"storj.io/drpc/drpcerr"
	"storj.io/drpc/drpcmetadata"
	stockwire "storj.io/drpc/drpcwire"

	"braid/drpcwire"
	"braid/internal/drpctest"
)

var update = flag.Bool("update", false, "write the files in testdata/frames again")

// goldenDir holds bytes as they are on the wire, for this and for any other
// implementation to be checked against. In a file the lines that begin with "#"
// say what the rest, in hexadecimal, is: "# frame:" each frame as a sentence
// (see drpctest.Peer), "# end:" what follows the last whole frame.
var goldenDir = filepath.Join("..", "testdata", "frames")

// What may follow the last whole frame of a golden case.
const (
	endClean      = ""
	endIncomplete = "incomplete" // the bytes stop inside a frame
	endMalformed  = "malformed"  // no bytes that follow could make it a frame
)

type goldenCase struct {
	name    string
	comment string
	frames  []string // as sentences
	raw     string   // the bytes, where they are not what AppendFrame makes
	end     string
}

var goldenCases = []goldenCase{
	{name: "invoke", comment: "Opens stream 1.", frames: []string{`s1 m1 Invoke "/pkg.Service/Method"`}},
	{name: "invoke_metadata", comment: "Metadata for the Invoke that follows it: the pair k, v.", frames: []string{
		`s1 m1 InvokeMetadata "\n\x06\n\x01k\x12\x01v"`, `s1 m2 Invoke "/pkg.Service/Method"`,
	}},
	{name: "message", comment: "One message.", frames: []string{`s1 m2 Message "hello"`}},
	{name: "message_empty", comment: "A message without data is a message.", frames: []string{`s1 m2 Message`}},
	{name: "message_split", comment: "One message in three frames, the last one empty.", frames: []string{
		`s1 m2 Message "hel" more`, `s1 m2 Message "lo" more`, `s1 m2 Message`,
	}},
	{name: "message_abandoned", comment: "A message given up half way: the higher id drops it.", frames: []string{
		`s1 m2 Message "hel" more`, `s1 m3 Cancel ctl`,
	}},
	{name: "interleaved", comment: "Messages of two streams, each in two frames.", frames: []string{
		`s1 m2 Message "on" more`, `s3 m5 Message "th" more`, `s1 m2 Message "e"`, `s3 m5 Message "ree"`,
	}},
	{name: "unary", comment: "All that a client sends for a call with one message.", frames: []string{
		`s1 m1 Invoke "/pkg.Service/Method"`, `s1 m2 Message "hello"`, `s1 m3 CloseSend`,
	}},
	{name: "announcement", comment: "The first call of a client that announces itself.", frames: []string{
		`s1 m1 Invoke "/pkg.Service/Method"`, `s1 m2 Settings "\x01\x01\x04\x80\x80\x80\x02" ctl`,
	}},
	{name: "error", comment: "An error with code 5: eight bytes, big endian, then the text.", frames: []string{
		`s1 m2 Error "\x00\x00\x00\x00\x00\x00\x00\x05no such thing"`,
	}},
	{name: "cancel", comment: "The caller gave up.", frames: []string{`s1 m2 Cancel ctl`}},
	{name: "cancel_deadline", comment: "The caller's deadline passed.", frames: []string{`s1 m2 Cancel "\x01" ctl`}},
	{name: "cancel_refused", comment: "The call was never started.", frames: []string{`s1 m1 Cancel "\x02" ctl`}},
	{name: "close", comment: "The stream is over.", frames: []string{`s1 m2 Close`}},
	{name: "close_send", comment: "The sender sends no more messages.", frames: []string{`s1 m2 CloseSend`}},
	{name: "window_update", comment: "64 KiB more credit for stream 3.", frames: []string{`s3 m0 WindowUpdate "\x80\x80\x04" ctl`}},
	{name: "settings", comment: "All five settings.", frames: []string{
		`s1 m1 Settings "\x01\x01\x02\x80\x80\x04\x03\x80\b\x04\x80\x80\x80\x02\x05\x01" ctl`,
	}},
	{name: "settings_unknown", comment: "A version and a setting with an id that is not known: 99 is 7.", frames: []string{
		`s1 m1 Settings "\x01\x01c\a" ctl`,
	}},
	{name: "ping_pong", comment: "A question and its answer have the same data.", frames: []string{
		`s0 m0 Ping "\x00\x01\x02\x03\xfc\xfd\xfe\xff" ctl`, `s0 m0 Pong "\x00\x01\x02\x03\xfc\xfd\xfe\xff" ctl`,
	}},
	{name: "goaway", comment: "Last stream taken 7, code 0, text.", frames: []string{`s0 m0 GoAway "\a\x00restart" ctl`}},
	{name: "timeout", comment: "1.5 s are left for the Invoke that follows.", frames: []string{
		`s1 m1 Timeout "\xe0\xc6[" ctl`, `s1 m2 Invoke "/pkg.Service/Method"`,
	}},
	{name: "reserved", comment: "The kinds that are reserved for response metadata.", frames: []string{
		`s1 m1 Header "\n\x06\n\x01k\x12\x01v" ctl`, `s1 m2 Trailer "\n\x06\n\x01k\x12\x01v" ctl`,
	}},
	{name: "unknown_control", comment: "A kind that nobody knows, to be ignored.", frames: []string{`s1 m2 Kind(40) "?" ctl`}},
	{name: "unknown", comment: "A kind that nobody knows, not to be ignored.", frames: []string{`s1 m2 Kind(0)`, `s1 m3 Kind(63)`}},
	{name: "largest_ids", comment: "Ids of 64 bits.", frames: []string{
		`s18446744073709551615 m18446744073709551615 Message "x"`,
	}},
	{
		name: "long_form", comment: "Ids and length in more bytes than they need.",
		frames: []string{`s1 m2 Message "hi"`},
		raw:    "05 81 00 82 80 80 00 82 80 80 80 80 80 80 80 80 00 68 69",
	},
	{
		name: "cut_in_header", comment: "The length is missing.",
		frames: []string{`s1 m1 Close`}, raw: "0b 01 01 00 05 01 80", end: endIncomplete,
	},
	{
		name: "cut_in_data", comment: "Two of five bytes.",
		frames: []string{`s1 m1 Close`}, raw: "0b 01 01 00 05 01 02 05 68 65", end: endIncomplete,
	},
	{
		name: "id_over_64_bits", comment: "The tenth byte of the stream id has a bit too many.",
		frames: []string{`s1 m1 Close`}, raw: "0b 01 01 00 05 ff ff ff ff ff ff ff ff ff 02 01 00", end: endMalformed,
	},
	{
		name: "id_without_end", comment: "The message id goes on after ten bytes.",
		frames: []string{`s1 m1 Close`}, raw: "0b 01 01 00 05 01 80 80 80 80 80 80 80 80 80 80 00 00", end: endMalformed,
	},
}

// lines returns the bytes of the case, one line of hexadecimal for each frame.
func (tc goldenCase) lines(tb testing.TB) (lines []string) {
	if tc.raw != "" {
		return []string{tc.raw}
	}
	for _, sentence := range tc.frames {
		lines = append(lines, fmt.Sprintf("% x", drpcwire.AppendFrame(nil, frame(tb, sentence))))
	}
	return lines
}

func (tc goldenCase) encode(tb testing.TB) []byte {
	tb.Helper()
	return unhex(tb, strings.Join(tc.lines(tb), ""))
}

func (tc goldenCase) file(tb testing.TB) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n", tc.comment)
	for _, sentence := range tc.frames {
		fmt.Fprintf(&b, "# frame: %s\n", sentence)
	}
	if tc.end != endClean {
		fmt.Fprintf(&b, "# end: %s\n", tc.end)
	}
	for _, line := range tc.lines(tb) {
		fmt.Fprintln(&b, line)
	}
	return b.String()
}

func unhex(tb testing.TB, text string) []byte {
	tb.Helper()
	buf, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		tb.Fatal(err)
	}
	return buf
}

func TestGoldenFilesAreWhatTheTableSays(t *testing.T) {
	known := make(map[string]bool)
	for _, tc := range goldenCases {
		path := filepath.Join(goldenDir, tc.name+".hex")
		known[path] = true
		if *update {
			assert.NoError(t, os.MkdirAll(goldenDir, 0o755))
			assert.NoError(t, os.WriteFile(path, []byte(tc.file(t)), 0o644))
		}
		got, err := os.ReadFile(path)
		assert.NoError(t, err)
		assert.Equal(t, string(got), tc.file(t))
	}
	paths, err := filepath.Glob(filepath.Join(goldenDir, "*"))
	assert.NoError(t, err)
	for _, path := range paths {
		if !known[path] {
			t.Errorf("%s belongs to no case", path)
		}
	}
}

// TestGoldenFilesParseAsTheySay reads only the files, as another implementation
// would.
func TestGoldenFilesParseAsTheySay(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(goldenDir, "*.hex"))
	assert.NoError(t, err)
	assert.True(t, len(paths) > 0)
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			text, err := os.ReadFile(path)
			assert.NoError(t, err)
			var want []string
			var digits, end string
			for line := range strings.Lines(string(text)) {
				line = strings.TrimSpace(line)
				if sentence, ok := strings.CutPrefix(line, "# frame: "); ok {
					want = append(want, sentence)
				} else if word, ok := strings.CutPrefix(line, "# end: "); ok {
					end = word
				} else if !strings.HasPrefix(line, "#") {
					digits += line
				}
			}
			buf := unhex(t, digits)

			var got []string
			for rem := buf; ; {
				next, fr, ok, err := drpcwire.ParseFrame(rem)
				_, stock, stockOK, stockErr := stockwire.ParseFrame(rem)
				if !ok {
					assert.Equal(t, endOf(rem, err), end)
					assert.False(t, stockOK && end != endMalformed) // stock takes some as a smaller number
					break
				}
				assert.NoError(t, err)
				assert.NoError(t, stockErr)
				assert.True(t, sameFrame(fr, fromStock(stock)))
				got = append(got, drpctest.Describe(fr))
				rem = next
			}
			assert.DeepEqual(t, got, want)

			got, err = readSentences(drpcwire.NewReader(bytes.NewReader(buf)))
			assert.DeepEqual(t, got, want)
			assert.Equal(t, endOfRead(err), end)
		})
	}
}

func endOf(rem []byte, err error) string {
	switch {
	case err != nil:
		return endMalformed
	case len(rem) > 0:
		return endIncomplete
	default:
		return endClean
	}
}

// TestGoldenDataIsWhatTheEncodersMake ties the data of the golden frames, which
// is written out above, to the functions that make such data.
func TestGoldenDataIsWhatTheEncodersMake(t *testing.T) {
	metadata, err := drpcmetadata.Encode(nil, map[string]string{"k": "v"})
	assert.NoError(t, err)
	all := drpcwire.Settings{
		Version: drpcwire.Version, Window: 64 << 10, Streams: 1024, MaxMessage: 4 << 20,
		Flags: drpcwire.FlagAcceptsStreams,
	}
	for name, want := range map[string][]byte{
		"invoke_metadata": metadata,
		"error":           drpcwire.MarshalError(drpcerr.WithCode(errors.New("no such thing"), 5)),
		"cancel":          drpcwire.AppendCancel(nil, drpcwire.CancelCanceled),
		"cancel_deadline": drpcwire.AppendCancel(nil, drpcwire.CancelDeadline),
		"cancel_refused":  drpcwire.AppendCancel(nil, drpcwire.CancelRefused),
		"window_update":   drpcwire.AppendVarint(nil, 64<<10),
		"settings":        drpcwire.AppendSettings(nil, all),
		"timeout":         drpcwire.AppendVarint(nil, 1_500_000),
		"reserved":        metadata,
	} {
		i := slices.IndexFunc(goldenCases, func(tc goldenCase) bool { return tc.name == name })
		assert.True(t, i >= 0)
		assert.Equal(t, string(frame(t, goldenCases[i].frames[0]).Data), string(want))
	}
}
