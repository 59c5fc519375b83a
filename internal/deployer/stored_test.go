package deployer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/bundle"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/state"
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
	require.Equal(w.t, out.Chunks(), w.marks(), "the manifest tells of other chunks")
	stored, _, err := bucket.Read(context.Background(), w.states, "prod/bundles/"+w.record().Live.Run+".tar.gz", "", 1<<30)
	require.NoError(w.t, err)
	require.True(w.t, bytes.Equal(stored, archive), "the state holds another one")
}

// marks are the chunks that the live manifest tells of.
func (w *world) marks() []bundle.Placed {
	w.t.Helper()
	lines, err := w.route.Store.ReadManifest(context.Background(), w.record().Live.Manifest)
	require.NoError(w.t, err)
	var chunks []bundle.Placed
	for _, f := range lines {
		if f.Chunk != nil {
			chunks = append(chunks, bundle.Placed{First: f.Path, Chunk: bundle.Chunk(*f.Chunk)})
		}
	}
	return chunks
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
	require.NotContains(t, w.logs.String(), "cannot be read back", "every chunk was found as its manifest tells")
}

// TestChunksAreFoundAgain when the one before was read in part, or the bundle stayed while the manifest was renewed.
func TestChunksAreFoundAgain(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 5))
	w := newLargeWorld(t, r)
	first := w.marks()[1].First
	w.put(first, w.shown()[first])
	w.requireOutcome(deployer.Unchanged, w.sync())
	w.requireAsMadeAnew()
	w.put("dags/team_3/a.py", "the first of its chunk")
	w.delete("dags/team_3/model.bin")
	require.Equal(t, int64(1), w.requireOutcome(deployer.Deployed, w.sync()).Requests["sourceGet"])
	w.requireAsMadeAnew()
	require.NotContains(t, w.logs.String(), "cannot be read back")
}

// TestARollbackTakesChunksOfBothBundles, and names the one that is damaged.
func TestARollbackTakesChunksOfBothBundles(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 6))
	w := newLargeWorld(t, r)
	first := w.record().Live.Run
	before := w.shown()
	for i := range 600 {
		if team := i % 6; team >= 1 && team <= 4 {
			w.put(fmt.Sprintf("dags/team_%d/dag_%03d.py", i%6, i), text(r, 2500))
		}
	}
	w.requireOutcome(deployer.Deployed, w.sync())
	teams := []string{"dags/team_1", "dags/team_2", "dags/team_3", "dags/team_4"} // whole chunks of the first bundle
	require.Equal(t, deployer.Deployed, w.route.Rollback(t.Context(), first, teams, false).Outcome)
	w.requireAsMadeAnew()
	require.Equal(t, before, w.live())
	run := w.record().Live.Run
	for path, f := range w.manifest() {
		back := path >= "dags/team_1/" && path < "dags/team_5/" && path != "dags/team_3/model.bin"
		require.Equal(t, back, f.Run == run, path)
	}

	w.put("dags/team_1/dag_001.py", "newer")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.overwrite("prod/bundles/"+first+".tar.gz", func([]byte) []byte { return nil })
	refused := w.route.Rollback(t.Context(), first, nil, false)
	require.Equal(t, deployer.Failed, refused.Outcome)
	require.Contains(t, refused.Reason, "the bundle of run "+first+" cannot be read back")
}

// TestAnEventHasTheManifestReadBesideTheListing, and the schedule has not, which mostly finds nothing.
func TestAnEventHasTheManifestReadBesideTheListing(t *testing.T) {
	w := newWorld(t)
	w.put("dags/a.py", "a = 1")
	w.requireOutcome(deployer.Deployed, w.sync())
	reads := 0
	w.states.Fault = func(op membucket.Op, key string, after bool) error {
		if op == membucket.Open && strings.Contains(key, "manifests/") && !after {
			reads++
			return errors.New("no storage") // a run that does not need it does not fail by it
		}
		return nil
	}
	w.clock.advance(time.Minute)
	w.requireOutcome(deployer.Unchanged, w.route.Sync(t.Context(), []time.Time{{}}))
	require.Zero(t, reads)
	w.clock.advance(time.Minute)
	w.requireOutcome(deployer.Unchanged, w.route.Sync(t.Context(), []time.Time{w.clock.Now()}))
	require.Equal(t, 1, reads)
}

// TestAnUploadThatFailsIsNoDamage of the live bundle, however its error looks.
func TestAnUploadThatFailsIsNoDamage(t *testing.T) {
	w := newLargeWorld(t, rand.New(rand.NewPCG(8, 7)))
	w.route.Store = state.NewStore(cutting{w.states}, "", "prod")
	w.put("dags/team_5/zzz.py", "new")
	r := w.requireOutcome(deployer.Failed, w.sync())
	require.True(t, r.Retryable)
	require.NotContains(t, r.Reason+w.logs.String(), "live bundle")
}

// cutting is a storage whose connection breaks while it takes a bundle.
type cutting struct{ *membucket.Bucket }

func (c cutting) Put(ctx context.Context, key string, body io.Reader, when bucket.Condition) (string, error) {
	if !strings.Contains(key, "bundles/") {
		return c.Bucket.Put(ctx, key, body, when)
	}
	_, _ = io.CopyN(io.Discard, body, 300_000)
	err := fmt.Errorf("cannot write: %w", io.ErrUnexpectedEOF)
	_ = body.(*io.PipeReader).CloseWithError(err)
	time.Sleep(time.Millisecond) // the packer sees it first
	return "", err
}

// TestARecordThatIsLostAfterTheBundleHealed is rebuilt: the description at Astro names the run whose bundle was lost.
func TestARecordThatIsLostAfterTheBundleHealed(t *testing.T) {
	w := newWorld(t)
	w.put("dags/a.py", "a = 1")
	w.put("dags/b.py", "b = 1")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.damageBundle(func([]byte) []byte { return nil })
	w.put("dags/a.py", "a = 2")
	w.put("dags/a.py", "a = 1") // the same again: it is fetched, and b.py is wanted of the bundle
	w.requireOutcome(deployer.Unchanged, w.sync())
	require.NoError(t, w.states.Delete(t.Context(), "prod/record.json", ""))
	w.requireOutcome(deployer.Unchanged, w.sync())
	require.Equal(t, w.shown(), w.live())
	require.Len(t, w.astro.finalized, 1)

	w.damageBundle(func([]byte) []byte { return nil })
	w.put("dags/a.py", "a = 1")
	w.requireOutcome(deployer.Unchanged, w.sync())
	require.NoError(t, w.states.Delete(t.Context(), "prod/record.json", ""))
	w.put("dags/a.py", "a = 2")
	w.requireOutcome(deployer.Deployed, w.sync()) // it knows what is live, though the bucket does not hold that any more
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
			requireAllReadOnce(t, result)
			require.Equal(t, w.shown(), w.live())
			w.requireAsMadeAnew()
			w.put("dags/team_1/dag_001.py", "changed again")
			require.Equal(t, int64(1), w.requireOutcome(deployer.Deployed, w.sync()).Requests["sourceGet"])
		})
	}
}

// requireAllReadOnce of the large world: but for the large file, which is compared before it is taken, and the changed one, which may have been
// read before the damage was noticed.
func requireAllReadOnce(t *testing.T, r deployer.Result) {
	t.Helper()
	require.GreaterOrEqual(t, r.Requests["sourceGet"], int64(602))
	require.LessOrEqual(t, r.Requests["sourceGet"], int64(603))
}

func (w *world) damageBundle(damage func([]byte) []byte) {
	w.t.Helper()
	w.overwrite("prod/bundles/"+w.record().Live.Run+".tar.gz", damage)
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
		notices  bool
	}{
		"of old":        {`"format":1`, `"format":0`, false},
		"none":          {`"chunk":`, `"other":`, false},
		"others":        {`"packed":`, `"packed":1`, true},
		"another CRC":   {`"crc32":`, `"crc32":7,"was":`, true},
		"others' marks": {`"path":"dags/team_2/dag_002.py"`, `"chunk":{"format":1,"packed":1,"size":1,"crc32":1,"sha256":"0"},"path":"dags/team_2/dag_002.py"`, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newLargeWorld(t, rand.New(rand.NewPCG(8, 4)))
			key := "prod/manifests/" + w.record().Live.Manifest + ".jsonl.gz"
			w.overwrite(key, func(content []byte) []byte { return replaceIn(t, content, change.from, change.to) })
			w.put("dags/team_1/dag_001.py", "changed")
			result := w.requireOutcome(deployer.Deployed, w.sync())
			if change.notices {
				requireAllReadOnce(t, result)
			} else {
				require.Equal(t, int64(1), result.Requests["sourceGet"])
			}
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
