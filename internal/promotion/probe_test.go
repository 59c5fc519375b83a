package promotion_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/service"
)

// TestTheTargetMustBeWritable: a missing right is found before anything is done, and only where it is needed.
func TestTheTargetMustBeWritable(t *testing.T) {
	denied := func(ops ...membucket.Op) membucket.Fault {
		return func(op membucket.Op, _ string, _ bool) error {
			if slices.Contains(ops, op) {
				return fmt.Errorf("%w: the role needs s3:PutObject on it", bucket.ErrDenied)
			}
			return nil
		}
	}
	w := newWorld(t)
	w.numbered(5)
	w.sync(w.dev, deployer.Deployed)
	w.memory["prod"].Fault = denied(membucket.Put, membucket.Copy)
	for _, o := range []service.PromoteOptions{{}, {Force: true}, {DryRun: true}} {
		why := w.refused(o)
		require.Contains(t, why, ": source s3://prod/live/dags/ of prod is not writable: ")
		require.Contains(t, why, "the role needs s3:PutObject on it")
	}
	w.memory["prod"].Fault = denied(membucket.Delete)
	require.Len(t, w.promote().Copied, 5, "nothing is removed")
	w.remove("dev/dags/team4/dag 004.py")
	w.sync(w.dev, deployer.Deployed)
	require.Contains(t, w.refused(service.PromoteOptions{}), "is not writable")
	w.memory["prod"].Fault = nil
	w.promote()

	w.put("dev/dags/team0/dag 000.py", "changed")
	w.sync(w.dev, deployer.Deployed)
	w.memory["prod"].Fault = denied(membucket.Copy)
	require.Len(t, w.promote().Copied, 1, "what the storage does not copy for us passes through")
	w.memory["prod"].Fault = nil

	w.put("dev/dags/team0/dag 000.py", "changed again")
	w.sync(w.dev, deployer.Deployed)
	lost := errors.New("the connection was lost")
	w.memory["prod"].Fault = func(op membucket.Op, _ string, _ bool) error {
		if op == membucket.Put {
			return lost
		}
		return nil
	}
	_, err := w.try(service.PromoteOptions{})
	require.ErrorIs(t, err, lost, "that may pass, and refuses nothing")
	require.Empty(t, w.record(w.prod).Holds)
}

// TestDeniedOnTheWay: a right to copy that is missing for some files only is found late, and those pass through.
func TestDeniedOnTheWay(t *testing.T) {
	w := newWorld(t)
	w.numbered(2)
	w.sync(w.dev, deployer.Deployed)
	w.memory["prod"].Fault = func(op membucket.Op, key string, _ bool) error {
		if op == membucket.Copy && strings.HasSuffix(key, "001.py") {
			return bucket.ErrDenied
		}
		return nil
	}
	require.Len(t, w.promote().Copied, 2)
}

// heedless is a storage that does not know conditions.
type heedless struct{ *membucket.Bucket }

func (h heedless) Put(ctx context.Context, key string, body io.Reader, _ bucket.Condition) (string, error) {
	return h.Bucket.Put(ctx, key, body, bucket.Always)
}

// heedlessCopier heeds conditions for what is put only.
type heedlessCopier struct{ *membucket.Bucket }

func (h heedlessCopier) Copy(ctx context.Context, from bucket.Reader, key, version, toKey string, _ bucket.Condition) (string, error) {
	return h.Bucket.Copy(ctx, from, key, version, toKey, bucket.Always)
}

// overProd puts something between the routes and prod's bucket.
func (w *world) overProd(wrap func(*membucket.Bucket) bucket.Bucket) {
	open := w.buckets["s3"]
	w.buckets["s3"] = func(ctx context.Context, u bucket.URL) (bucket.Bucket, error) {
		if u.Bucket == "prod" {
			return wrap(w.memory["prod"]), nil
		}
		return open(ctx, u)
	}
}

// googles calls itself a bucket of Cloud Storage.
type googles struct{ *membucket.Bucket }

func (googles) String() string { return "gs://prod" }

// TestOverwritingMayNeedTheRightToDelete: on Cloud Storage it does.
func TestOverwritingMayNeedTheRightToDelete(t *testing.T) {
	w := newWorld(t)
	w.put("dev/dags/a.py", "a = 1")
	w.sync(w.dev, deployer.Deployed)
	w.overProd(func(b *membucket.Bucket) bucket.Bucket { return googles{b} })
	w.memory["prod"].Fault = func(op membucket.Op, _ string, _ bool) error {
		if op == membucket.Delete {
			return bucket.ErrDenied
		}
		return nil
	}
	require.Len(t, w.promote().Copied, 1, "there is nothing to overwrite")
	w.put("dev/dags/a.py", "a = 2")
	w.sync(w.dev, deployer.Deployed)
	require.Contains(t, w.refused(service.PromoteOptions{}), "is not writable")
}

func TestCopiesWithoutConditionsPassThrough(t *testing.T) {
	w := newWorld(t)
	w.numbered(5)
	w.sync(w.dev, deployer.Deployed)
	w.overProd(func(b *membucket.Bucket) bucket.Bucket { return heedlessCopier{b} })
	copies := 0
	var mu sync.Mutex
	w.memory["prod"].Fault = func(op membucket.Op, _ string, after bool) error {
		mu.Lock()
		defer mu.Unlock()
		if op == membucket.Copy && after {
			copies++
		}
		return nil
	}
	w.put("dev/dags/team0/dag 000.py", "not live yet") // which that storage notices, and says nothing of its conditions
	require.Len(t, w.promote().Copied, 5)
	require.Equal(t, 1, copies, "the probe")
	require.Len(t, w.shown("prod", ""), 5, "which was taken back")
}

func TestAStorageWithoutConditionsIsRefused(t *testing.T) {
	w := newWorld(t)
	w.numbered(1)
	w.sync(w.dev, deployer.Deployed)
	w.overProd(func(b *membucket.Bucket) bucket.Bucket { return heedless{b} })
	result, err := w.try(service.PromoteOptions{})
	require.NoError(t, err)
	require.Len(t, result.Refused, 1)
	require.Contains(t, result.Refused[0].Why, "the storage writes whatever the condition is")
	require.Empty(t, w.shown("prod", ""), "the probe was taken back")
}
