package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// vendor makes the vendor folder, and has go.mod and go.sum name only what is in it. The versions stay those of this project.
func vendor(folder string) error {
	// -mod=mod, since go.mod may not be complete for what else is in this project.
	if _, err := goCommand(folder, "-mod=mod", "mod", "vendor"); err != nil {
		return err
	}
	list, err := os.ReadFile(filepath.Join(folder, "vendor", "modules.txt"))
	if err != nil {
		return err
	}
	needed := modulesWithPackages(string(list))
	if err := reduceRequirements(folder, needed); err != nil {
		return err
	}
	if err := reduceSums(folder, needed); err != nil {
		return err
	}
	// Again: modules.txt must agree with go.mod. With -mod=readonly, this fails if anything is missing now.
	_, err = goCommand(folder, "-mod=readonly", "mod", "vendor")
	return err
}

// modulesWithPackages reads a modules.txt: a line "# path version" for each module, and below it its packages that were copied, if any.
func modulesWithPackages(list string) map[string]bool {
	needed := map[string]bool{}
	module := ""
	for line := range strings.Lines(list) {
		if about, ok := strings.CutPrefix(line, "# "); ok {
			module, _, _ = strings.Cut(about, " ")
		} else if !strings.HasPrefix(line, "#") {
			needed[module] = true
		}
	}
	return needed
}

func reduceRequirements(folder string, needed map[string]bool) error {
	encoded, err := goCommand(folder, "", "mod", "edit", "-json")
	if err != nil {
		return err
	}
	var mod struct{ Require []struct{ Path string } }
	if err := json.Unmarshal([]byte(encoded), &mod); err != nil {
		return fmt.Errorf("go mod edit -json: %w", err)
	}
	edit := []string{"mod", "edit"}
	for _, r := range mod.Require {
		if !needed[r.Path] {
			edit = append(edit, "-droprequire="+r.Path)
		}
	}
	_, err = goCommand(folder, "", edit...)
	return err
}

// reduceSums keeps the sums of the needed modules, and those of the go.mod files that tell which versions are the right ones.
func reduceSums(folder string, needed map[string]bool) error {
	graph, err := goCommand(folder, "-mod=mod", "mod", "graph") // pairs of path@version
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, version := range strings.Fields(graph) {
		known[version] = true
	}
	path := filepath.Join(folder, "go.sum")
	sums, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var kept strings.Builder
	for line := range strings.Lines(string(sums)) {
		fields := strings.Fields(line) // path, version, sum
		if len(fields) != 3 {
			return fmt.Errorf("go.sum has the line %q", line)
		}
		version, ofModFile := strings.CutSuffix(fields[1], "/go.mod")
		if known[fields[0]+"@"+version] && (ofModFile || needed[fields[0]]) {
			kept.WriteString(line)
		}
	}
	return os.WriteFile(path, []byte(kept.String()), 0o644)
}

// goCommand runs the go command as for Google's machines, and returns what it prints. It downloads what the module cache lacks.
func goCommand(folder, flags string, args ...string) (string, error) {
	command := exec.Command("go", args...)
	command.Dir = folder
	command.Env = append(command.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "GOFLAGS="+flags, "GOWORK=off")
	var output, errors bytes.Buffer
	command.Stdout, command.Stderr = &output, &errors
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, errors.String())
	}
	return output.String(), nil
}
