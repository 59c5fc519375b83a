package astrotest

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// Finalized is one change of where a Deployment goes, by a finalize, a rollback or DeployFromOutside.
type Finalized struct {
	DeployID, Version, Type, Description string
	At                                   time.Time
}

// Uploaded is one version of a Deployment's blob.
type Uploaded struct {
	Version string
	Size    int64  // bytes
	SHA256  string // of the archive, hexadecimal
	archive []byte // nil when it was discarded or dropped
}

// Archive is what was uploaded; nil when it was not kept.
func (u Uploaded) Archive() []byte { return u.archive }

// File is one entry of an archive.
type File struct {
	Name     string
	Size     int64 // bytes
	Modified time.Time
	Content  []byte
}

// Calls is how often each kind of call arrived, faults included.
func (s *Server) Calls() map[Call]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := map[Call]int{}
	for call, n := range s.calls {
		counts[call] = n
	}
	return counts
}

// Deploys is the number of deploys of a Deployment, finalized or not.
func (s *Server) Deploys(deploymentID string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.find(deploymentID).deploys)
}

// Finalized lists the finalized deploys of a Deployment in their order, repeats included.
func (s *Server) Finalized(deploymentID string) []Finalized {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.find(deploymentID).finalizes)
}

// Uploads lists what was uploaded for a Deployment, oldest first.
func (s *Server) Uploads(deploymentID string) []Uploaded {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Uploaded
	for _, up := range s.find(deploymentID).blob.uploads {
		list = append(list, *up)
	}
	return list
}

// MostFinalizesAtOnce is the largest number of finalize calls for a Deployment that were in progress at one time.
func (s *Server) MostFinalizesAtOnce(deploymentID string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(deploymentID).mostAtOnce
}

// Versions are the DAG tarball versions that a Deployment runs and goes to, "" for none.
func (s *Server) Versions(deploymentID string) (live, desired string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.find(deploymentID)
	return d.live(s.now()), d.desired()
}

// Live is the archive that a Deployment runs; nil if there is none or it was not kept.
func (s *Server) Live(deploymentID string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.find(deploymentID)
	if up := d.blob.find(d.live(s.now())); up != nil {
		return up.archive
	}
	return nil
}

// LiveFiles lists the entries of the archive that a Deployment runs, in the archive's order; none if there is no archive.
func (s *Server) LiveFiles(deploymentID string) ([]File, error) {
	archive := s.Live(deploymentID)
	if archive == nil {
		return nil, nil
	}
	return Files(archive)
}

// Files lists the entries of a tar archive, plain or in gzip.
func Files(archive []byte) ([]File, error) {
	buffered := bufio.NewReader(bytes.NewReader(archive))
	var source io.Reader = buffered
	if magic, _ := buffered.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unpacked, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, fmt.Errorf("unpack the archive: %w", err)
		}
		source = unpacked
	}
	var files []File
	for entries := tar.NewReader(source); ; {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the archive: %w", err)
		}
		content, err := io.ReadAll(entries)
		if err != nil {
			return nil, fmt.Errorf("read %s in the archive: %w", header.Name, err)
		}
		files = append(files, File{Name: header.Name, Size: header.Size, Modified: header.ModTime.UTC(), Content: content})
	}
}

// DeployFromOutside carries out a deploy that somebody else makes: of type DAG_ONLY or IMAGE_AND_DAG, with an archive.
// It returns the deploy's ID and its DAG tarball version.
func (s *Server) DeployFromOutside(deploymentID, kind, description string, archive []byte) (deployID, version string) {
	up, _ := s.receive(bytes.NewReader(archive), int64(len(archive))) // reading from memory cannot fail
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.find(deploymentID)
	up.Version = s.newVersion()
	d.blob.uploads = append(d.blob.uploads, up)
	one := s.newDeploy(d, kind, description, "")
	if kind != "DAG_ONLY" {
		one.imageTag = "deploy-" + one.id
	}
	s.finish(d, one, up.Version)
	return one.id, up.Version
}

// FailDeploy marks a deploy as FAILED, as Astro does with one that it cannot carry out.
func (s *Server) FailDeploy(deploymentID, deployID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.find(deploymentID).find(deployID).status = "FAILED"
}
