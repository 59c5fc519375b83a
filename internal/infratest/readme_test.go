//go:build infra

package infratest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	blockForm       = regexp.MustCompile(`(?ms)^(variable|output) "([a-z0-9_]+)" \{\n(.*?)^\}`)
	descriptionForm = regexp.MustCompile(`(?m)^  description\s+= "(.*)"$`)
	defaultForm     = regexp.MustCompile(`(?ms)^  default\s+= (.*?)\n(?:  [a-z]|\n|\z)`)
	spaces          = regexp.MustCompile(`\s+`)
)

// rows are the lines of the table that describes a file of variables or outputs.
func rows(t *testing.T, file, kind string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var lines []string
	for _, block := range blockForm.FindAllStringSubmatch(string(text), -1) {
		name, body := block[2], block[3]
		description := descriptionForm.FindStringSubmatch(body)
		require.NotNil(t, description, "%s has no description of one line", name)
		row := "| `" + name + "` | " + strings.ReplaceAll(description[1], `\"`, `"`) + " |"
		if kind == "variable" {
			value := "required"
			if d := defaultForm.FindStringSubmatch(body); d != nil {
				value = "`" + spaces.ReplaceAllString(strings.TrimSpace(d[1]), " ") + "`"
			}
			row += " " + value + " |"
		}
		lines = append(lines, row)
	}
	return strings.Join(lines, "\n")
}

// TestTablesAreComplete: the tables of a module's README say what its files say.
func TestTablesAreComplete(t *testing.T) {
	for _, module := range []string{"infra/aws", "infra/gcp"} {
		readme, err := os.ReadFile(filepath.Join(root, module, "README.md"))
		require.NoError(t, err)
		for _, table := range []struct{ marker, file, kind, head string }{
			{"inputs", "variables.tf", "variable", "| name | description | default |\n|---|---|---|\n"},
			{"outputs", "outputs.tf", "output", "| name | description |\n|---|---|\n"},
		} {
			_, shown, _ := strings.Cut(string(readme), "<!-- "+table.marker+" -->\n")
			shown, _, closed := strings.Cut(shown, "\n<!-- end "+table.marker+" -->")
			require.True(t, closed, "%s/README.md has no table of %s", module, table.marker)
			want := table.head + rows(t, filepath.Join(root, module, table.file), table.kind)
			if os.Getenv("UPDATE") != "" {
				begin := "<!-- " + table.marker + " -->\n"
				text := strings.Replace(string(readme), begin+shown, begin+want, 1)
				require.NoError(t, os.WriteFile(filepath.Join(root, module, "README.md"), []byte(text), 0o644))
				readme = []byte(text)
				continue
			}
			require.Equal(t, want, strings.TrimSpace(shown), "%s/README.md: write it anew with UPDATE=1 make test-infra", module)
		}
	}
}
