// Command functionzip packs functions/cloudfunction as the source that Google's Go buildpack takes: the function's package in the root,
// with a module file, the packages of this project that it needs, all others in a vendor folder, and the machine code of the syntax
// checker, which is in the image that the buildpack makes of it. The same source, version and machine code give the same bytes.
//
// It runs in the project's folder, and changes nothing there.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/dagbucket/dagbucket/internal/fixedzip"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: functionzip OUT.zip VERSION MACHINE-CODE-FOLDER")
		os.Exit(2)
	}
	if err := pack(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "functionzip:", err)
		os.Exit(1)
	}
}

func pack(out, version, machineCode string) error {
	entries, err := contents(version, machineCode)
	if err != nil {
		return err
	}
	return fixedzip.WriteFile(out, entries)
}

// contents stages the source in a folder of its own.
func contents(version, machineCode string) (_ []fixedzip.Entry, err error) {
	entries, err := fixedzip.ReadFolder(machineCode, "pysyntax/")
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "functionzip-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	if err := copySource(folder, version); err != nil {
		return nil, err
	}
	if err := vendor(folder); err != nil {
		return nil, err
	}
	// Not with the modes on disk: the buildpack refuses a go.mod that it cannot write, and the module cache holds files that nobody can.
	source, err := fixedzip.ReadFolder(folder, "")
	return append(entries, source...), err
}
