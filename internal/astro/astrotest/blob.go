package astrotest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxArchives bounds, in bytes, the archives of one Deployment that are held for reading them back: beyond it the
// oldest are dropped, never the one that runs, the one that is desired or the newest.
const maxArchives = 64 << 20

// blob is the one blob of a Deployment, with its versions. The server's lock guards it.
type blob struct {
	uploads []*Uploaded // oldest first
	blocks  map[string][]byte
}

func newBlob() *blob { return &blob{blocks: map[string][]byte{}} }

func (b *blob) find(version string) *Uploaded {
	for _, u := range b.uploads {
		if u.Version == version {
			return u
		}
	}
	return nil
}

func (b *blob) has(version string) bool { return b.find(version) != nil }

// uploadURL is a signed URL as Azure makes them: '&' between, "%2B", "%3A" and '=' in its query.
func (s *Server) uploadURL(r *http.Request, d *deployment) string {
	path := "/blobs/" + d.OrganizationID + "/" + d.ID
	ends := s.now().Add(s.options.URLLifetime).Format("2006-01-02T15:04:05+00:00")
	query := url.Values{"sv": {"2024-11-04"}, "se": {ends}, "sr": {"b"}, "sp": {"cw"}, "sig": {s.sign(path, ends)}}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host + path + "?" + query.Encode()
}

func (s *Server) sign(path, ends string) string {
	mac := hmac.New(sha256.New, s.key)
	fmt.Fprintf(mac, "%s\n%s", path, ends)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// signed checks the signature and the end of a request's URL.
func (s *Server) signed(r *http.Request) bool {
	query := r.URL.Query()
	ends, err := time.Parse("2006-01-02T15:04:05-07:00", query.Get("se"))
	want := s.sign(r.URL.Path, query.Get("se"))
	return err == nil && hmac.Equal([]byte(want), []byte(query.Get("sig"))) && s.now().Before(ends)
}

// putBlob is the storage's side: one PUT, or blocks and then their list.
func (s *Server) putBlob(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Query().Get("comp") {
	case "block":
		s.on(UploadBlock, s.withBlob(s.putBlock))(w, r)
	case "blocklist":
		s.on(CommitBlocks, s.withBlob(s.commitBlocks))(w, r)
	default:
		s.on(Upload, s.withBlob(s.putWhole))(w, r)
	}
}

// failBlob answers as the storage does when it refuses.
func failBlob(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("x-ms-error-code", code)
	w.Header().Set("x-ms-request-id", "5c1a3f6e-001e-0001-0000-000000000000")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<?xml version="1.0" encoding="utf-8"?><Error><Code>%s</Code><Message>Refused.</Message></Error>`, code)
}

func (s *Server) withBlob(serve func(http.ResponseWriter, *http.Request, *deployment)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		d := s.find(r.PathValue("dep"))
		s.mu.Unlock()
		switch {
		case !s.signed(r):
			failBlob(w, http.StatusForbidden, "AuthenticationFailed")
		case r.Header.Get("Authorization") != "":
			failBlob(w, http.StatusBadRequest, "InvalidAuthenticationInfo")
		case d == nil || d.OrganizationID != r.PathValue("org"):
			failBlob(w, http.StatusNotFound, "ContainerNotFound")
		case r.ContentLength < 0:
			failBlob(w, http.StatusLengthRequired, "MissingContentLengthHeader")
		default:
			serve(w, r, d)
		}
	}
}

func (s *Server) putWhole(w http.ResponseWriter, r *http.Request, d *deployment) {
	if r.Header.Get("x-ms-blob-type") != "BlockBlob" {
		failBlob(w, http.StatusBadRequest, "MissingRequiredHeader")
		return
	}
	up, err := s.receive(r.Body, r.ContentLength)
	if err != nil {
		failBlob(w, http.StatusBadRequest, "InvalidInput")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store(w, d, up)
}

func (s *Server) receive(body io.Reader, size int64) (*Uploaded, error) {
	hash := sha256.New()
	if s.options.DiscardArchives {
		n, err := io.Copy(hash, body)
		return &Uploaded{Size: n, SHA256: hex.EncodeToString(hash.Sum(nil))}, err
	}
	archive := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead))
	n, err := io.Copy(io.MultiWriter(hash, archive), body)
	return &Uploaded{Size: n, SHA256: hex.EncodeToString(hash.Sum(nil)), archive: archive.Bytes()}, err
}

// store makes an upload the newest version of the blob. The lock is held.
func (s *Server) store(w http.ResponseWriter, d *deployment, up *Uploaded) {
	up.Version = s.newVersion()
	clear(d.blob.blocks) // as Azure does: whatever was not committed is lost
	d.blob.uploads = append(d.blob.uploads, up)
	s.dropArchives(d)
	w.Header().Set("x-ms-version-id", up.Version)
	w.Header().Set("ETag", `"0x`+up.SHA256[:16]+`"`)
	w.WriteHeader(http.StatusCreated)
}

func (s *Server) dropArchives(d *deployment) {
	var held int64
	live, desired := d.live(s.now()), d.desired()
	for i := len(d.blob.uploads) - 1; i >= 0; i-- {
		up := d.blob.uploads[i]
		held += int64(len(up.archive))
		if held > maxArchives && i < len(d.blob.uploads)-1 && up.Version != live && up.Version != desired {
			held -= int64(len(up.archive))
			up.archive = nil
		}
	}
}

func (s *Server) putBlock(w http.ResponseWriter, r *http.Request, d *deployment) {
	id := r.URL.Query().Get("blockid")
	block, err := io.ReadAll(r.Body)
	if id == "" || err != nil {
		failBlob(w, http.StatusBadRequest, "InvalidQueryParameterValue")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d.blob.blocks[id] = block
	w.WriteHeader(http.StatusCreated)
}

func (s *Server) commitBlocks(w http.ResponseWriter, r *http.Request, d *deployment) {
	ids, err := blockIDs(r.Body)
	if err != nil {
		failBlob(w, http.StatusBadRequest, "InvalidXmlDocument")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var parts []io.Reader
	var size int64
	for _, id := range ids {
		block, ok := d.blob.blocks[id]
		if !ok {
			failBlob(w, http.StatusBadRequest, "InvalidBlockList")
			return
		}
		parts = append(parts, bytes.NewReader(block))
		size += int64(len(block))
	}
	up, err := s.receive(io.MultiReader(parts...), size)
	if err != nil {
		failBlob(w, http.StatusInternalServerError, "InternalError")
		return
	}
	s.store(w, d, up)
}

// blockIDs reads <BlockList><Latest>ID</Latest>…</BlockList> in its order.
func blockIDs(body io.Reader) ([]string, error) {
	var ids []string
	decoder := xml.NewDecoder(body)
	inside := false
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return ids, nil
		}
		if err != nil {
			return nil, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			inside = t.Name.Local == "Latest" || t.Name.Local == "Uncommitted"
		case xml.EndElement:
			inside = false
		case xml.CharData:
			if inside {
				ids = append(ids, strings.TrimSpace(string(t)))
			}
		}
	}
}
