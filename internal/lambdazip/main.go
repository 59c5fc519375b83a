// Command lambdazip packs a binary as AWS Lambda wants it: a zip file with the one entry "bootstrap". The same binary gives the
// same bytes.
package main

import (
	"fmt"
	"os"

	"github.com/dagbucket/dagbucket/internal/fixedzip"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: lambdazip OUT.zip BINARY")
		os.Exit(2)
	}
	if err := pack(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "lambdazip:", err)
		os.Exit(1)
	}
}

func pack(out, binary string) error {
	content, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	return fixedzip.WriteFile(out, []fixedzip.Entry{{Name: "bootstrap", Mode: 0o755, Content: content}})
}
