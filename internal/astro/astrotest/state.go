package astrotest

import (
	"fmt"
	"time"
)

// deployment is a Deployment with its history. The server's lock guards it.
type deployment struct {
	Deployment
	created    time.Time
	imageTag   string
	blob       *blob
	deploys    []*deploy // oldest first
	moves      []move    // where the Deployment was sent, oldest first
	finalizes  []Finalized
	finalizing int // calls in progress
	mostAtOnce int
	airflow    airflow
}

// firstImage is the image of a Deployment before any deploy.
const firstImage = "deploy-2026-01-01T00-00-00"

// move is one change of the desired DAG tarball version.
type move struct {
	version string // "" for a deploy that brings the image's own DAGs
	liveAt  time.Time
}

// desired is the DAG tarball version that the Deployment is going to, live the one it runs.
func (d *deployment) desired() string {
	if len(d.moves) == 0 {
		return ""
	}
	return d.moves[len(d.moves)-1].version
}

func (d *deployment) live(now time.Time) string {
	for i := len(d.moves) - 1; i >= 0; i-- {
		if !now.Before(d.moves[i].liveAt) {
			return d.moves[i].version
		}
	}
	return ""
}

func (d *deployment) status(now time.Time) string {
	switch {
	case d.Hibernating:
		return "HIBERNATING"
	case d.desired() != d.live(now):
		return "DEPLOYING"
	}
	return d.Status
}

func (d *deployment) find(deployID string) *deploy {
	for _, one := range d.deploys {
		if one.id == deployID {
			return one
		}
	}
	return nil
}

type deploy struct {
	id, kind, status, description string
	version                       string // DAG tarball version
	created, updated              time.Time
	creator                       string
	rollbackFrom                  string
	imageTag                      string
}

// newDeploy adds a deploy. The lock is held.
func (s *Server) newDeploy(d *deployment, kind, description, creator string) *deploy {
	s.lastID++
	now := s.now()
	one := &deploy{id: fmt.Sprintf("clvetru2w%016d", s.lastID), kind: kind, status: "INITIALIZED", description: description,
		created: now, updated: now, creator: creator, imageTag: d.imageTag}
	d.deploys = append(d.deploys, one)
	return one
}

// finish sends the Deployment to a version. The lock is held.
func (s *Server) finish(d *deployment, one *deploy, version string) {
	now := s.now()
	d.imageTag = one.imageTag
	one.status, one.version, one.updated = "DEPLOYED", version, now
	if len(d.moves) == 0 || d.desired() != version {
		d.moves = append(d.moves, move{version, now.Add(s.options.LiveAfter)})
	}
	d.finalizes = append(d.finalizes, Finalized{DeployID: one.id, Version: version, Type: one.kind, Description: one.description, At: now})
}

// newVersion is a DAG tarball version in the form of Azure's: its time of upload, never twice the same. The lock is held.
func (s *Server) newVersion() string {
	at := s.now().Truncate(100 * time.Nanosecond)
	if !at.After(s.lastVersion) {
		at = s.lastVersion.Add(100 * time.Nanosecond)
	}
	s.lastVersion = at
	return at.Format("2006-01-02T15:04:05.0000000Z")
}
