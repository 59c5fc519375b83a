//go:build infra

// Package infratest checks the Terraform modules: with Terraform itself, and what they plan with rules and with the code that will run there.
//
// The providers come from where Terraform's own settings say (TF_CLI_CONFIG_FILE). Everything is planned with mocked providers: no cloud is asked.
package infratest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

var root = func() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}()

// folders are those of the modules and of the examples, from the project's root.
var folders = func() []string {
	found := []string{"infra/aws", "infra/gcp"}
	examples, _ := filepath.Glob(filepath.Join(root, "infra", "examples", "*"))
	for _, e := range examples {
		relative, _ := filepath.Rel(root, e)
		found = append(found, relative)
	}
	return found
}()

// each runs test for each folder, side by side.
func each(t *testing.T, test func(t *testing.T, folder string)) {
	for _, folder := range folders {
		t.Run(folder, func(t *testing.T) {
			t.Parallel()
			test(t, folder)
		})
	}
}

// copied is where the copy of the project's modules lies that Terraform works in: it writes beside what it reads.
var copied string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if copied, err = os.MkdirTemp("", "infratest-"); err != nil {
			panic(err)
		}
		defer os.RemoveAll(copied)
		if err := os.CopyFS(filepath.Join(copied, "infra"), os.DirFS(filepath.Join(root, "infra"))); err != nil {
			panic(err)
		}
		left, _ := filepath.Glob(filepath.Join(copied, "infra", "*", ".terraform*")) // of somebody who worked there
		more, _ := filepath.Glob(filepath.Join(copied, "infra", "examples", "*", ".terraform*"))
		for _, f := range append(left, more...) {
			_ = os.RemoveAll(f)
		}
		return m.Run()
	}())
}

func terraform(folder string, args ...string) (stdout []byte, err error) {
	cmd := exec.Command("terraform", args...)
	cmd.Dir = filepath.Join(copied, folder)
	cmd.Env = append(os.Environ(), "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1")
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return out.Bytes(), fmt.Errorf("terraform %s in %s: %w\n%s%s", strings.Join(args, " "), folder, err, tail(out.Bytes()), tail(problems.Bytes()))
	}
	return out.Bytes(), nil
}

// tail is the end of an output; what was planned fills the most of it.
func tail(b []byte) string {
	var kept []string
	for line := range strings.Lines(string(b)) {
		if len(line) < 4000 {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept[max(0, len(kept)-60):], "")
}

// tested is what Terraform made of one folder.
type tested struct {
	once   sync.Once
	err    error
	passed int
	plans  []plan
}

var results = func() map[string]*tested {
	m := map[string]*tested{}
	for _, f := range folders {
		m[f] = new(tested)
	}
	return m
}()

// plan is what one run of a test file plans.
type plan struct {
	folder, file, run string
	changes           []change
	outputs           map[string]any
}

func (p plan) String() string { return p.folder + "/" + p.file + ": " + p.run }

type change struct {
	Address, Type, Name string
	Change              struct {
		Actions []string
		After   map[string]any
	}
}

// of returns the planned resources of a type.
func (p plan) of(kind string) []change {
	var found []change
	for _, c := range p.changes {
		if c.Type == kind {
			found = append(found, c)
		}
	}
	return found
}

func (c change) text(key string) string {
	s, _ := c.Change.After[key].(string)
	return s
}

// block is the first of the blocks of that name.
func (c change) block(name string) map[string]any {
	blocks, _ := c.Change.After[name].([]any)
	if len(blocks) == 0 {
		return nil
	}
	b, _ := blocks[0].(map[string]any)
	return b
}

// test initializes, validates and tests a folder once, whoever asks.
func test(t *testing.T, folder string) *tested {
	t.Helper()
	r := results[folder]
	r.once.Do(func() { r.err = r.run(folder) })
	require.NoError(t, r.err)
	return r
}

func (r *tested) run(folder string) error {
	if _, err := terraform(folder, "init", "-no-color", "-input=false", "-backend=false"); err != nil {
		return err
	}
	if _, err := terraform(folder, "validate", "-no-color"); err != nil {
		return err
	}
	out, err := terraform(folder, "test", "-json", "-verbose")
	if err != nil {
		return err
	}
	return r.read(folder, out)
}

// read takes the plans off the lines of terraform test.
func (r *tested) read(folder string, out []byte) error {
	refused, err := refusals(folder)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 256<<20)
	for lines.Scan() {
		var line struct {
			Type string `json:"type"`
			File string `json:"@testfile"`
			Run  string `json:"@testrun"`
			Plan struct {
				Changes []change       `json:"resource_changes"`
				Outputs map[string]any `json:"output_changes"`
			} `json:"test_plan"`
			Status struct{ Progress, Status string } `json:"test_run"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return fmt.Errorf("terraform test in %s: %w", folder, err)
		}
		switch {
		case line.Type == "test_plan" && !refused[line.File+" "+line.Run]:
			p := plan{folder: folder, file: line.File, run: line.Run, outputs: map[string]any{}}
			for _, c := range line.Plan.Changes {
				if !slices.Equal(c.Change.Actions, []string{"read"}) {
					p.changes = append(p.changes, c)
				}
			}
			for name, o := range line.Plan.Outputs {
				if o, ok := o.(map[string]any); ok {
					p.outputs[name] = o["after"]
				}
			}
			r.plans = append(r.plans, p)
		case line.Type == "test_run" && line.Status.Progress == "complete" && line.Status.Status == "pass":
			r.passed++
		}
	}
	return lines.Err()
}

var runForm = regexp.MustCompile(`(?m)^run "([^"]+)"`)

// refusals are the runs that expect to be refused: what they plan is cut off where that happens.
func refusals(folder string) (map[string]bool, error) {
	files, err := filepath.Glob(filepath.Join(root, folder, "tests", "*.tftest.hcl"))
	refused := map[string]bool{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		runs := runForm.FindAllSubmatchIndex(text, -1)
		for i, run := range runs {
			end := len(text)
			if i+1 < len(runs) {
				end = runs[i+1][0]
			}
			if bytes.Contains(text[run[0]:end], []byte("expect_failures")) {
				refused["tests/"+filepath.Base(f)+" "+string(text[run[2]:run[3]])] = true
			}
		}
	}
	return refused, err
}

func TestFormat(t *testing.T) {
	out, err := terraform("infra", "fmt", "-no-color", "-check", "-recursive", "-diff")
	require.NoError(t, err, string(out))
}

// TestTerraform runs init, validate and test everywhere.
func TestTerraform(t *testing.T) {
	each(t, func(t *testing.T, folder string) {
		r := test(t, folder)
		require.NotZero(t, r.passed, "no test ran")
		t.Logf("%d runs, %d plans", r.passed, len(r.plans))
	})
}

// TestAssertions: enough of them, and each in a file that runs.
func TestAssertions(t *testing.T) {
	asserted, refused := 0, 0
	for _, folder := range folders {
		files, err := filepath.Glob(filepath.Join(root, folder, "tests", "*.tftest.hcl"))
		require.NoError(t, err)
		require.NotEmpty(t, files, "%s has no test", folder)
		for _, f := range files {
			text, err := os.ReadFile(f)
			require.NoError(t, err)
			asserted += bytes.Count(text, []byte("assert {"))
			refused += bytes.Count(text, []byte("expect_failures"))
		}
	}
	t.Logf("%d assertions and %d refusals", asserted, refused)
	require.GreaterOrEqual(t, asserted+refused, 60)
}
