package state_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/state"
)

// TestManifestsOfAnyLength come back line by line, whatever their lines share.
func TestManifestsOfAnyLength(t *testing.T) {
	for _, n := range []int{0, 1, 499, 500, 501, 2_345} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			var want []state.File
			for i := range n {
				f := state.File{Path: fmt.Sprintf("dags/a/%d.py", i), Source: "s3://acme/x/", Size: int64(i), State: state.Live, SHA256: strings.Repeat("a", 64),
					Run: fmt.Sprint("run-", i%3), Modified: time.Unix(int64(i), 0).UTC()}
				switch i % 5 {
				case 0:
					f.Key = f.Path
				case 1:
					f.Key = "team/" + f.Path
				case 2:
					f.Key = strings.TrimPrefix(f.Path, "dags/")
				case 3:
					f.Key = strings.Replace(f.Path, "dags/", "x/", 1) // of the same length, and neither's end
				case 4:
					f.Key, f.Message, f.Excerpt = "é<&>\u2028.py", "<script>\n", "x\n^"
				}
				if i%200 == 0 {
					f.Chunk = &state.Chunk{Format: 1, Packed: int64(i), Size: 2, CRC32: 3, SHA256: "b"}
				}
				want = append(want, f)
			}
			s := state.NewStore(membucket.New("state"), "", "prod")
			require.NoError(t, s.PutManifest(t.Context(), "1", want))
			got, err := s.ReadManifest(t.Context(), "1")
			require.NoError(t, err)
			require.Equal(t, want, got)
		})
	}
}

// TestStatusIsOneObject, with all files in their place, though it is written piece by piece.
func TestStatusIsOneObject(t *testing.T) {
	for _, n := range []int{0, 1, 500, 1_203} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			want := state.Status{Format: state.StatusFormat, Route: "prod", Summary: `about "files":[ and <more>`, Sources: []state.StatusSource{}, Holds: []state.Hold{},
				Live: &state.StatusDeploy{Files: n}, Files: []state.StatusFile{}, Runs: []state.Run{{Run: "1", Reason: `"files":[]`}}}
			for i := range n {
				want.Files = append(want.Files, state.StatusFile{Path: fmt.Sprint(i, `.py "files":[`), State: state.Live, Message: "a < b"})
			}
			b := membucket.New("state")
			s := state.NewStore(b, "", "prod")
			require.NoError(t, s.PutStatus(t.Context(), &want, func(w io.Writer) error { _, err := io.WriteString(w, "<html>"); return err }))
			text, _, err := bucket.Read(t.Context(), b, "prod/status.json", "", 1<<30)
			require.NoError(t, err)
			var got state.Status
			dec := json.NewDecoder(bytes.NewReader(text))
			dec.DisallowUnknownFields()
			require.NoError(t, dec.Decode(&got))
			require.Equal(t, want, got)
			_, err = dec.Token()
			require.Equal(t, io.EOF, err, "and nothing after it")
			require.Contains(t, string(text), "<more>", "not escaped for HTML")
		})
	}
}
