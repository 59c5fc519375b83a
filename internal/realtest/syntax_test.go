package realtest_test

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/realtest"
	"github.com/dagbucket/dagbucket/internal/state"
)

// TestABrokenFileStopsNobody follows a broken edit through the real binary, as its author and the others would.
func TestABrokenFileStopsNobody(t *testing.T) {
	t.Parallel()
	f := newFunction(t, astrotest.Options{})
	f.put("dags/mine.py", "mine = 1\n")
	f.put("dags/yours.py", "yours = 1\n")
	require.Equal(t, deployer.Deployed, f.run().Outcome)

	// A broken edit beside a good one, and a broken new file.
	f.put("dags/mine.py", "def mine(:\n    pass\n")
	f.put("dags/yours.py", "yours = 2\n")
	f.put("dags/new.py", "<<<<<<< HEAD\nnew = 1\n")
	r := f.run()
	require.Equal(t, deployer.Deployed, r.Outcome)
	require.Equal(t, map[string]string{"dags/mine.py": "mine = 1\n", "dags/yours.py": "yours = 2\n"}, f.live())
	require.Equal(t, []deployer.Note{{Path: "dags/mine.py", Key: "dags/mine.py", Reason: "syntax", Line: 1, Column: 10,
		Message: "Expected a parameter or the end of the parameter list", Excerpt: "def mine(:\n         ^"}}, r.Kept)
	require.Len(t, r.LeftOut, 1)
	require.Equal(t, []string{"dags/yours.py"}, r.Modified)
	require.Contains(t, string(f.Logs()), `"path":"dags/new.py","line":1,"column":1`)

	// The status names both, in the terminal as in JSON.
	status := f.command("status")
	require.Contains(t, status, "kept dags/mine.py:1:10 (syntax): Expected a parameter or the end of the parameter list\n      def mine(:\n               ^\n")
	require.Contains(t, status, "left out dags/new.py:1:1 (syntax): ")
	var told state.Status
	require.NoError(t, json.Unmarshal([]byte(f.command("status", "--json")), &told))
	require.Equal(t, r.Kept[0].Excerpt, told.In(state.Kept)[0].Excerpt)
	require.Equal(t, r.LeftOut[0].Message, told.In(state.LeftOut)[0].Message)

	// The repairs go live.
	f.put("dags/mine.py", "mine = 3\n")
	f.put("dags/new.py", "new = 1\n")
	r = f.run()
	require.Equal(t, deployer.Deployed, r.Outcome)
	require.Equal(t, map[string]string{"dags/mine.py": "mine = 3\n", "dags/yours.py": "yours = 2\n", "dags/new.py": "new = 1\n"}, f.live())
	require.Empty(t, append(r.Kept, r.LeftOut...))
	require.NotContains(t, string(f.Logs()), "checked by interpretation", "the machine code was found")
}

// run invokes the function by hand, and returns what the one route did.
func (f *function) run() deployer.Result {
	f.t.Helper()
	answer := f.invoke(object{})
	require.Empty(f.t, answer.FunctionError)
	var body struct{ Results []deployer.Result }
	require.NoError(f.t, json.Unmarshal(answer.Response, &body))
	require.Len(f.t, body.Results, 1)
	return body.Results[0]
}

// command runs the command line with the function's environment.
func (f *function) command(args ...string) string {
	f.t.Helper()
	root, err := realtest.ProjectRoot()
	require.NoError(f.t, err)
	cmd := exec.CommandContext(f.t.Context(), filepath.Join(root, "build", "dagbucket"), args...)
	cmd.Env = append(f.env, "AWS_REGION=us-east-1", "HOME="+f.t.TempDir())
	out, err := cmd.Output()
	require.NoError(f.t, err)
	f.requireNoSecret(string(out))
	return strings.TrimSpace(string(out)) + "\n"
}
