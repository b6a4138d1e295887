package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/pluginpb"
)

// pluginEnv makes the test binary act as a plugin.
const pluginEnv = "GENPROTO_TEST_PLUGIN"

func TestMain(m *testing.M) {
	if mode := os.Getenv(pluginEnv); mode != "" {
		plugin(mode)
		return
	}
	os.Exit(m.Run())
}

// plugin answers with one file that tells what the request held, or with what
// the mode says.
func plugin(mode string) {
	in, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	var req pluginpb.CodeGeneratorRequest
	if err := proto.Unmarshal(in, &req); err != nil {
		panic(err)
	}

	var b strings.Builder
	fmt.Fprintf(&b, "generate %v with %q\n", req.GetFileToGenerate(), req.GetParameter())
	for _, fd := range req.GetProtoFile() {
		fmt.Fprintf(&b, "file %s\n", fd.GetName())
		for _, loc := range fd.GetSourceCodeInfo().GetLocation() {
			if c := loc.GetLeadingComments(); c != "" && !strings.HasPrefix(fd.GetName(), "google/") {
				fmt.Fprintf(&b, "comment %q\n", c)
			}
		}
	}
	out := &pluginpb.CodeGeneratorResponse_File{
		Name:    proto.String("sub/out.txt"),
		Content: proto.String(b.String()),
	}
	resp := &pluginpb.CodeGeneratorResponse{File: []*pluginpb.CodeGeneratorResponse_File{out}}
	switch mode {
	case "error":
		resp.Error = proto.String("no thanks")
	case "escape":
		out.Name = proto.String("../out.txt")
	case "insert":
		out.InsertionPoint = proto.String("imports")
	case "crash":
		os.Exit(3)
	case "garbage":
		fmt.Print("\xff")
		return
	}
	data, err := proto.Marshal(resp)
	if err != nil {
		panic(err)
	}
	_, _ = os.Stdout.Write(data)
}

// sources writes .proto files, of which a.proto imports two others.
func sources(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range map[string]string{
		"a.proto": `syntax = "proto3";
			package test;
			import "b.proto";
			import "google/protobuf/timestamp.proto";
			// A is documented.
			message A { B b = 1; google.protobuf.Timestamp at = 2; }`,
		"b.proto": `syntax = "proto3"; package test; message B {}`,
		"bad.proto": `syntax = "proto3";
			message A { Missing m = 1; }`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRun(t *testing.T) {
	t.Setenv(pluginEnv, "ok")
	out := t.TempDir()
	err := run(t.Context(), sources(t), out, []string{self(t) + " x=1,y"}, []string{"a.proto"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(out, "sub", "out.txt"))
	if err != nil {
		t.Fatal(err)
	}
	const want = `generate [a.proto] with "x=1,y"
file b.proto
file google/protobuf/timestamp.proto
file a.proto
comment " A is documented.\n"
`
	if string(got) != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}

func TestRunFails(t *testing.T) {
	src := sources(t)
	plugins := []string{self(t)}
	for _, tt := range []struct {
		name, mode     string
		plugins, files []string
		want           string
	}{
		{"no file", "ok", plugins, nil, "required"},
		{"no plugin", "ok", nil, []string{"a.proto"}, "required"},
		{"missing file", "ok", plugins, []string{"none.proto"}, "none.proto"},
		{"invalid file", "ok", plugins, []string{"bad.proto"}, "bad.proto:2"},
		{"missing plugin", "ok", []string{filepath.Join(src, "none")}, []string{"a.proto"}, "none"},
		{"plugin error", "error", plugins, []string{"a.proto"}, "no thanks"},
		{"plugin crash", "crash", plugins, []string{"a.proto"}, "exit status 3"},
		{"malformed response", "garbage", plugins, []string{"a.proto"}, "malformed"},
		{"file outside", "escape", plugins, []string{"a.proto"}, "cannot write"},
		{"insertion point", "insert", plugins, []string{"a.proto"}, "cannot write"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(pluginEnv, tt.mode)
			err := run(t.Context(), src, t.TempDir(), tt.plugins, tt.files)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}
