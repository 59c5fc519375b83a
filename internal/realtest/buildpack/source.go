package buildpack

import (
	"archive/zip"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"strconv"
)

// unpack keeps the files' permissions.
func unpack(zipFile, folder string) error {
	archive, err := zip.OpenReader(zipFile)
	if err != nil {
		return err
	}
	defer archive.Close()
	for _, f := range archive.File {
		if !filepath.IsLocal(f.Name) {
			return fmt.Errorf("%q leaves the folder", f.Name)
		}
		if f.Mode().IsDir() {
			continue
		}
		if err := unpackFile(f, filepath.Join(folder, filepath.FromSlash(f.Name))); err != nil {
			return err
		}
	}
	return nil
}

func unpackFile(f *zip.File, path string) error {
	packed, err := f.Open()
	if err != nil {
		return err
	}
	defer packed.Close()
	content, err := io.ReadAll(packed)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, f.Mode().Perm())
}

type functionPackage struct {
	name    string
	imports map[string]bool
}

// onlyPackage reads the one package of a folder. As for the buildpack, every file counts whose name ends in ".go": tests too, and
// those that constraints exclude.
func onlyPackage(folder string) (functionPackage, error) {
	pkg := functionPackage{imports: map[string]bool{}}
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return pkg, err
	}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return pkg, fmt.Errorf("failed to parse source in %s: %w", folder, err)
		}
		if pkg.name != "" && file.Name.Name != pkg.name {
			return pkg, fmt.Errorf("multiple packages in user code directory: %s != %s", pkg.name, file.Name.Name)
		}
		pkg.name = file.Name.Name
		for _, i := range file.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return pkg, err
			}
			pkg.imports[name] = true
		}
	}
	if pkg.name == "" {
		return pkg, fmt.Errorf("unable to find Go package in %s", folder)
	}
	return pkg, nil
}
