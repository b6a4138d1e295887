// Command genproto compiles .proto files and hands them to protoc plugins, so
// that generating code needs nothing that is not a Go module: no protoc to
// install, and no version of it to differ from one machine to the next.
//
// Usage:
//
//	genproto [-I dir] [-out dir] -plugin command [-plugin command]... file.proto...
//
// The files are named relative to the import directory. A plugin command is the
// plugin's executable followed by the parameters to pass to it, for example
//
//	genproto -plugin 'bin/protoc-gen-go paths=source_relative' chat.proto
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

func main() {
	var plugins []string
	importDir := flag.String("I", ".", "`directory` that imports and the files to compile are relative to")
	outDir := flag.String("out", ".", "`directory` to write the generated files below")
	flag.Func("plugin", "plugin `command`: an executable and its parameters (repeatable)", func(s string) error {
		plugins = append(plugins, s)
		return nil
	})
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	if err := run(ctx, *importDir, *outDir, plugins, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "genproto:", err)
		os.Exit(1)
	}
}

// run compiles the files and writes what each of the plugins makes of them.
func run(ctx context.Context, importDir, outDir string, plugins, files []string) error {
	if len(files) == 0 || len(plugins) == 0 {
		return errors.New("at least one -plugin and one file are required (see -help)")
	}
	descs, err := compile(ctx, importDir, files)
	if err != nil {
		return err
	}
	for _, plugin := range plugins {
		path, params, _ := strings.Cut(plugin, " ")
		resp, err := generate(ctx, path, &pluginpb.CodeGeneratorRequest{
			FileToGenerate: files,
			Parameter:      proto.String(strings.TrimSpace(params)),
			ProtoFile:      descs,
		})
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := write(outDir, resp); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// compile returns the descriptors of the files and of everything they import,
// each after the files that it imports, which is the order plugins rely on.
func compile(ctx context.Context, importDir string, files []string) ([]*descriptorpb.FileDescriptorProto, error) {
	compiler := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
			ImportPaths: []string{importDir},
		}),
		// Plugins copy the comments of the .proto file from the source info.
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	compiled, err := compiler.Compile(ctx, files...)
	if err != nil {
		return nil, err
	}

	var descs []*descriptorpb.FileDescriptorProto
	seen := make(map[string]bool)
	var visit func(fd protoreflect.FileDescriptor)
	visit = func(fd protoreflect.FileDescriptor) {
		if seen[fd.Path()] {
			return
		}
		seen[fd.Path()] = true
		for i := range fd.Imports().Len() {
			visit(fd.Imports().Get(i).FileDescriptor)
		}
		descs = append(descs, protoutil.ProtoFromFileDescriptor(fd))
	}
	for _, fd := range compiled {
		visit(fd)
	}
	return descs, nil
}

// generate runs the plugin on the request.
func generate(ctx context.Context, path string, req *pluginpb.CodeGeneratorRequest) (*pluginpb.CodeGeneratorResponse, error) {
	in, err := proto.Marshal(req)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path)
	cmd.Stdin = bytes.NewReader(in)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	resp := new(pluginpb.CodeGeneratorResponse)
	if err := proto.Unmarshal(out, resp); err != nil {
		return nil, fmt.Errorf("malformed response: %w", err)
	}
	if resp.Error != nil {
		return nil, errors.New(resp.GetError())
	}
	return resp, nil
}

// write stores the files of the response below dir.
func write(dir string, resp *pluginpb.CodeGeneratorResponse) error {
	for _, file := range resp.GetFile() {
		name := filepath.FromSlash(file.GetName())
		// An insertion point asks to edit a file that another plugin made.
		// None of the Go plugins does, and ignoring one would lose code.
		if file.GetInsertionPoint() != "" || !filepath.IsLocal(name) {
			return fmt.Errorf("cannot write %q (insertion point %q)", name, file.GetInsertionPoint())
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(file.GetContent()), 0o666); err != nil {
			return err
		}
	}
	return nil
}
