// Command lambdazip packs the function as AWS Lambda wants it: a zip file with the binary as "bootstrap", and beside it, in "pysyntax", the
// machine code of the syntax checker. The same input gives the same bytes.
package main

import (
	"fmt"
	"os"

	"github.com/dagbucket/dagbucket/internal/fixedzip"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: lambdazip OUT.zip BINARY MACHINE-CODE-FOLDER")
		os.Exit(2)
	}
	if err := pack(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "lambdazip:", err)
		os.Exit(1)
	}
}

func pack(out, binary, machineCode string) error {
	content, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	entries, err := fixedzip.ReadFolder(machineCode, "pysyntax/")
	if err != nil {
		return err
	}
	return fixedzip.WriteFile(out, append(entries, fixedzip.Entry{Name: "bootstrap", Mode: 0o755, Content: content}))
}
