package deployer_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/deployer"
)

func compressed(t *testing.T, content string) string {
	t.Helper()
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	_, err := zw.Write([]byte(content))
	require.NoError(t, err)
	require.NoError(t, zw.Close())
	return b.String()
}

// noise is text that does not compress well.
func noise(size int) string {
	b := make([]byte, size/2)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return hex.EncodeToString(b)
}

// putEncoded stores bytes that are said to be compressed.
func (w *world) putEncoded(key, stored string) {
	w.put(key, stored)
	w.source.Change(key, func(o *bucket.Object) { o.Gzip = true })
}

func TestWhatIsStoredCompressedArrivesAsItsAuthorHasIt(t *testing.T) {
	const headSize = 256 << 10
	contents := map[string]string{
		"dags/small.py": "print('hello')\n", "dags/empty.py": "", "dags/exact.bin": noise(headSize), "dags/larger.bin": noise(headSize + 2),
		"dags/large.bin": noise(3 << 20),
	}
	w := newWorld(t)
	for key, content := range contents {
		w.putEncoded(key, compressed(t, content))
	}
	w.putEncoded("dags/two.py", compressed(t, "a = 1\n")+compressed(t, "b = 2\n")) // members one after the other
	contents["dags/two.py"] = "a = 1\nb = 2\n"
	half := compressed(t, noise(1<<20))
	for key, stored := range map[string]string{"dags/plain.py": "print('not compressed')", "dags/cut.bin": half[:len(half)/2], "dags/.gz": ""} {
		w.putEncoded(key, stored)
		contents[key] = stored // nothing else is known of it
	}
	w.put("dags/data.json.gz", half) // its author compressed it, and says nothing of it
	contents["dags/data.json.gz"] = half
	w.putEncoded("dags/.dagbucketignore", compressed(t, "*.tmp\n"))
	w.put("dags/x.tmp", "left out")

	r := w.requireOutcome(deployer.Deployed, w.sync())

	require.Equal(t, contents, w.live())
	size := int64(0)
	for _, content := range contents {
		size += int64(len(content))
	}
	require.Equal(t, size, r.Bytes)
	require.Equal(t, size, w.record().Live.Bytes)
	w.requireOutcome(deployer.Unchanged, w.sync())
}

func TestCompressedOtherwiseIsTheSameContent(t *testing.T) {
	large := noise(1 << 20)
	w := newWorld(t)
	w.putEncoded("dags/large.bin", compressed(t, large))
	w.put("dags/a.py", "a = 1")
	w.requireOutcome(deployer.Deployed, w.sync())
	w.put("dags/large.bin", large)
	w.requireOutcome(deployer.Unchanged, w.sync())
	w.putEncoded("dags/large.bin", compressed(t, large[:len(large)/2])+compressed(t, large[len(large)/2:]))
	w.requireOutcome(deployer.Unchanged, w.sync())
	require.Len(t, w.astro.finalized, 1)

	w.put("dags/a.py", "a = 2") // the large one comes from the live bundle
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, map[string]string{"dags/a.py": "a = 2", "dags/large.bin": large}, w.live())
}

func TestLimitsHoldForWhatIsDecompressed(t *testing.T) {
	bomb := compressed(t, string(make([]byte, 64<<20)))
	require.Less(t, len(bomb), 100_000)
	for name, put := range map[string]func(w *world){
		"one file": func(w *world) { w.putEncoded("dags/bomb.bin", bomb) },
		"all files": func(w *world) {
			w.putEncoded("dags/a.bin", compressed(t, noise(600<<10)))
			w.put("dags/b.bin", noise(500<<10))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.route.MaxBytes = 1 << 20
			put(w)
			r := w.requireOutcome(deployer.Held, w.sync())
			require.Contains(t, r.Reason, "bytes are more than limits.max_bytes (1048576): remove files, or raise the limit")
			require.Empty(t, w.astro.finalized)
		})
	}
	w := newWorld(t)
	w.route.MaxBytes = 1 << 20
	w.putEncoded("dags/just.bin", compressed(t, noise(1<<20)))
	w.requireOutcome(deployer.Deployed, w.sync())
}

func TestACompressedObjectThatChangesIsListedAgain(t *testing.T) {
	w := newWorld(t)
	w.putEncoded("dags/a.bin", compressed(t, noise(1<<20)))
	opens := 0
	w.source.Fault = func(op membucket.Op, _ string, after bool) error {
		if op == membucket.Open && !after {
			if opens++; opens == 2 { // measured, and not read yet
				w.source.Fault = nil
				w.putEncoded("dags/a.bin", compressed(t, "another"))
			}
		}
		return nil
	}
	w.requireOutcome(deployer.Deployed, w.sync())
	require.Equal(t, map[string]string{"dags/a.bin": "another"}, w.live())

	w.putEncoded("dags/a.bin", compressed(t, noise(1<<20)))
	w.source.Fault = func(op membucket.Op, _ string, _ bool) error {
		if op == membucket.Open {
			return errors.New("the network is down")
		}
		return nil
	}
	r := w.requireOutcome(deployer.Failed, w.sync())
	require.Contains(t, r.Reason, "the network is down", "an error of the storage is none of the encoding")
}

func TestDecompressedContentsHaveTheirOwnDigest(t *testing.T) {
	w := newWorld(t)
	w.putEncoded("dags/a.py", compressed(t, "a = 1"))
	w.requireOutcome(deployer.Deployed, w.sync())
	encoded := w.record().Live.Digest
	v := newWorld(t)
	v.put("dags/a.py", "a = 1")
	v.requireOutcome(deployer.Deployed, v.sync())
	require.Equal(t, v.record().Live.Digest, encoded)
	require.Len(t, encoded, sha256.Size*2)
}
