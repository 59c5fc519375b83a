// Package buildpack builds a Cloud Run function from its staged source as Google's Go buildpack does (GoogleCloudPlatform/buildpacks,
// cmd/go/functions_framework and cmd/go/build), for a module with a vendor folder: it generates the main package, and refuses what
// the buildpack refuses. The buildpack's other ways, such as source without a vendor folder, are refused too.
//
// Four things differ: the server listens on loopback only, paths are trimmed so that builds can be cached, C is not used, and this project's
// repository is not looked at.
package buildpack

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Workspace is the folder that a built program runs in; on Google's machines it is /workspace. The source is in it, as in the image.
func Workspace(program string) string { return program + ".workspace" }

const (
	sourceFolder = "serverless_function_source_code" // where the buildpack moves the source
	mainFolder   = "functions.local/app"             // of the generated package; its import path is that below the module's
	framework    = "github.com/GoogleCloudPlatform/functions-framework-go"
)

// builder is one build.
type builder struct {
	gopath string // temporary
	source string
}

// Build builds the source in a zip file into the program out, with the function named target as its entry point, and leaves the source in
// the program's workspace. It neither needs the network nor anything of the module cache.
func Build(zipFile, target, out string) (err error) {
	out, err = filepath.Abs(out)
	if err != nil {
		return err
	}
	gopath, err := os.MkdirTemp("", "buildpack-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(gopath)) }()
	b := builder{gopath, filepath.Join(Workspace(out), sourceFolder)}
	if err := os.RemoveAll(Workspace(out)); err != nil {
		return err
	}
	if err := unpack(zipFile, b.source); err != nil {
		return fmt.Errorf("unpack %s: %w", zipFile, err)
	}
	if err := b.generate(target); err != nil {
		return err
	}
	_, err = b.run("build", "-trimpath", "-buildvcs=false", "-o", out, filepath.Join(b.source, mainFolder))
	return err
}

// generate checks the source, and writes the main package.
func (b builder) generate(target string) error {
	pkg, err := onlyPackage(b.source)
	if err != nil {
		return err
	}
	module, err := b.module()
	if err != nil {
		return err
	}
	if err := b.checkFramework(pkg); err != nil {
		return err
	}
	main := filepath.Join(b.source, mainFolder)
	if err := os.MkdirAll(main, 0o755); err != nil {
		return err
	}
	return writeMain(filepath.Join(main, "main.go"), module, target)
}

// module returns the path of the source's module, which is the import path of its package too.
func (b builder) module() (string, error) {
	mod, err := os.Stat(filepath.Join(b.source, "go.mod"))
	if err != nil {
		return "", err
	}
	if mod.Mode().Perm()&0o200 == 0 {
		return "", errors.New("go.mod exists but is not writable")
	}
	if _, err := os.Stat(filepath.Join(b.source, "vendor")); err != nil {
		return "", err
	}
	path, err := b.run("list", "-m")
	if err != nil {
		return "", err
	}
	if first, _, _ := strings.Cut(path, "/"); !strings.Contains(first, ".") {
		return "", fmt.Errorf("the module path in the function's go.mod must contain a dot in the first path element before a slash, found: %s", path)
	}
	return path, nil
}

// checkFramework checks that the functions framework is vendored, in a version for which the main package is what is written here.
func (b builder) checkFramework(pkg functionPackage) error {
	version, err := b.run("list", "-m", "-f", "{{.Version}}", framework)
	_, statErr := os.Stat(filepath.Join(b.source, "vendor", framework, "funcframework"))
	switch {
	case err != nil || version == "" || statErr != nil:
		return fmt.Errorf("vendored dependencies must include %q; if the function does not depend on the module, add a blank import: `_ %q`",
			framework, framework+"/funcframework")
	case strings.HasPrefix(version, "v0.") || strings.HasPrefix(version, "v1.0."):
		return fmt.Errorf("%s %s: the main package for versions before v1.1.0 is not known here", framework, version)
	case pkg.imports[framework+"/functions"]:
		return errors.New("the main package for functions that register themselves is not known here")
	}
	return nil
}

// run runs the go command in the source's folder, and returns what it prints. The caller's settings of the go command count for
// nothing, but for its build cache and toolchain.
func (b builder) run(args ...string) (string, error) {
	command := exec.Command("go", args...)
	command.Dir = b.source
	command.Env = append(command.Environ(), "GOENV=off", "GOFLAGS=", "GOPROXY=off", "GOWORK=off", "GO111MODULE=on", "CGO_ENABLED=0",
		"GOPATH="+b.gopath, "GOMODCACHE="+filepath.Join(b.gopath, "pkg", "mod"))
	var output, problems bytes.Buffer
	command.Stdout, command.Stderr = &output, &problems
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, problems.String())
	}
	return strings.TrimSpace(output.String()), nil
}
