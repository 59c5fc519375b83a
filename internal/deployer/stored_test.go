package deployer_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bundle"
	"github.com/dagbucket/dagbucket/internal/deployer"
)

// text is n bytes that compress a little.
func text(r *rand.Rand, n int) string {
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "task_%x = Operator(%d)\n", r.Uint32(), r.IntN(9))
	}
	return b.String()[:n]
}

// requireAsMadeAnew: the live bundle is, byte for byte, what a bundle of its files is that copies nothing; and it is what the state holds.
func (w *world) requireAsMadeAnew() {
	w.t.Helper()
	archive := w.astro.bundles[w.astro.desired]
	files := unpack(w.t, archive)
	var anew bytes.Buffer
	out := bundle.NewWriter(&anew)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		f := files[path]
		_, err := out.Add(bundle.Entry{Path: path, Size: int64(len(f.content)), Modified: f.modified}, strings.NewReader(f.content))
		require.NoError(w.t, err)
	}
	require.NoError(w.t, out.Close())
	require.True(w.t, bytes.Equal(anew.Bytes(), archive), "other bytes")
	stored, _, err := bucket.Read(context.Background(), w.states, "prod/bundles/"+w.record().Live.Run+".tar.gz", "", 1<<30)
	require.NoError(w.t, err)
	require.True(w.t, bytes.Equal(stored, archive), "the state holds another one")
}

// newLargeWorld has 600 files, in several chunks, and a large one among them.
func newLargeWorld(t testing.TB, r *rand.Rand) *world {
	w := newWorld(t)
	for i := range 600 {
		w.put(fmt.Sprintf("dags/team_%d/dag_%03d.py", i%6, i), text(r, 2000+r.IntN(2000)))
	}
	w.put("dags/team_3/model.bin", text(r, 3<<20))
	w.requireOutcome(deployer.Deployed, w.sync())
	w.requireAsMadeAnew()
	return w
}

// TestAnyChangesGiveTheBundleThatIsMadeAnew, and read no object but the changed ones.
func TestAnyChangesGiveTheBundleThatIsMadeAnew(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 1))
	w := newLargeWorld(t, r)
	for range 12 {
		keys := paths(w.shown())
		changed := map[string]bool{}
		for range 1 + r.IntN(4) {
			switch key := keys[r.IntN(len(keys))]; r.IntN(4) {
			case 0:
				w.delete(key)
				delete(changed, key)
			case 1:
				key = fmt.Sprintf("dags/team_%d/new_%x.sql", r.IntN(8), r.Uint32())
				w.put(key, text(r, r.IntN(600_000)))
				changed[key] = true
			default:
				w.put(key, text(r, r.IntN(4000)))
				changed[key] = true
			}
		}
		result := w.requireOutcome(deployer.Deployed, w.sync())
		require.Equal(t, int64(len(changed)), result.Requests["sourceGet"])
		require.Equal(t, w.shown(), w.live())
		w.requireAsMadeAnew()
	}
	require.Equal(t, deployer.Deployed, w.route.Rollback(t.Context(), "", nil, false).Outcome)
	w.requireAsMadeAnew()
	w.put("dags/team_0/dag_000.py", "after the rollback")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.requireAsMadeAnew()
}

// TestADamagedBundleHeals wherever it is damaged: everything is read from the sources again, once.
func TestADamagedBundleHeals(t *testing.T) {
	for name, damage := range map[string]func(archive []byte) []byte{
		"its first chunk":      func(a []byte) []byte { a[bundle.HeaderSize+1000] ^= 1; return a },
		"in the middle":        func(a []byte) []byte { a[len(a)/2] ^= 1; return a },
		"its last chunk":       func(a []byte) []byte { a[len(a)-2000] ^= 1; return a },
		"of another length":    func(a []byte) []byte { return a[:len(a)/2] },
		"another bundle":       func(a []byte) []byte { return bytes.Repeat([]byte{0}, len(a)) },
		"nothing of it there":  func([]byte) []byte { return nil },
		"a byte after another": func(a []byte) []byte { return append(a, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newLargeWorld(t, rand.New(rand.NewPCG(8, 2)))
			w.damageBundle(damage)
			w.put("dags/team_1/dag_001.py", "changed")
			result := w.requireOutcome(deployer.Deployed, w.sync())
			require.GreaterOrEqual(t, result.Requests["sourceGet"], int64(601))
			require.Equal(t, w.shown(), w.live())
			w.requireAsMadeAnew()
			w.put("dags/team_1/dag_001.py", "changed again")
			require.Equal(t, int64(1), w.requireOutcome(deployer.Deployed, w.sync()).Requests["sourceGet"])
		})
	}
}

func (w *world) damageBundle(damage func([]byte) []byte) {
	w.t.Helper()
	key := "prod/bundles/" + w.record().Live.Run + ".tar.gz"
	archive, _, err := bucket.Read(context.Background(), w.states, key, "", 1<<30)
	require.NoError(w.t, err)
	_, err = w.states.Put(context.Background(), key, bytes.NewReader(damage(archive)), bucket.Always)
	require.NoError(w.t, err)
}

// TestADamagedBundleHoldsWhatIsKept, since no source has its content any more.
func TestADamagedBundleHoldsWhatIsKept(t *testing.T) {
	w := newLargeWorld(t, rand.New(rand.NewPCG(8, 3)))
	w.archive("dags/team_2/dag_002.py")
	w.source.Change("dags/team_2/dag_002.py", func(o *bucket.Object) { o.Version += "-moved" })
	w.put("dags/team_5/dag_005.py", "changed")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.damageBundle(func(a []byte) []byte { a[len(a)/2] ^= 1; return a })
	w.put("dags/team_5/dag_005.py", "changed again")
	require.Contains(t, w.requireOutcome(deployer.Held, w.sync()).Reason, "dags/team_2/dag_002.py keeps its last good content")
	w.source.Change("dags/team_2/dag_002.py", func(o *bucket.Object) { o.Archived = false })
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, w.shown(), w.live())
}

// TestAManifestWithoutChunks, or with wrong ones, costs time and nothing else.
func TestAManifestWithoutChunks(t *testing.T) {
	for name, change := range map[string]struct {
		from, to string
		reads    int64
	}{
		"none":          {`"chunk":`, `"other":`, 1},
		"others":        {`"packed":`, `"packed":1`, 601},
		"another CRC":   {`"crc32":`, `"crc32":7,"was":`, 601},
		"others' marks": {`"path":"dags/team_2/dag_002.py"`, `"chunk":{"packed":1,"size":1,"crc32":1,"sha256":"0"},"path":"dags/team_2/dag_002.py"`, 601},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newLargeWorld(t, rand.New(rand.NewPCG(8, 4)))
			key := "prod/manifests/" + w.record().Live.Manifest + ".jsonl.gz"
			w.overwrite(key, func(content []byte) []byte { return replaceIn(t, content, change.from, change.to) })
			w.put("dags/team_1/dag_001.py", "changed")
			result := w.requireOutcome(deployer.Deployed, w.sync())
			require.GreaterOrEqual(t, result.Requests["sourceGet"], change.reads)
			require.Equal(t, w.shown(), w.live())
			w.requireAsMadeAnew()
		})
	}
}

// replaceIn replaces text in what is compressed.
func replaceIn(t *testing.T, content []byte, from, to string) []byte {
	r, err := gzip.NewReader(bytes.NewReader(content))
	require.NoError(t, err)
	plain, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Contains(t, string(plain), from)
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err = io.WriteString(z, strings.ReplaceAll(string(plain), from, to))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return out.Bytes()
}
