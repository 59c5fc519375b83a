package gcsserver

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"regexp"
)

// upload serves the requests that store an object: in one request, or in several (a resumable upload).
func (s *Server) upload(w http.ResponseWriter, r *http.Request, t target) error {
	query := r.URL.Query()
	if id := query.Get("upload_id"); id != "" {
		return s.resume(w, r, id)
	}
	if r.Method != http.MethodPost {
		return errNotSupported
	}
	body, err := readBody(r)
	if err != nil {
		return err
	}
	n := name{t.bucket, query.Get("name")}
	switch uploadType := query.Get("uploadType"); uploadType {
	case "resumable":
		return s.beginUpload(w, r, n, body)
	case "media":
	case "multipart":
		metadata, err := multipartMetadata(r.Header.Get("Content-Type"), body)
		if err != nil {
			return err
		}
		if n.key == "" {
			n.key = metadata.Name
		}
	default:
		return invalid("Invalid value for uploadType: %q", uploadType)
	}
	return s.store(w, r, n, body)
}

// store has the fake store an upload that is complete: r with this body.
func (s *Server) store(w http.ResponseWriter, r *http.Request, n name, body []byte) error {
	if err := checkKey(n.key); err != nil {
		return err
	}
	wanted, err := conditionsOf(r, jsonAPI)
	if err != nil {
		return err
	}
	wanted.exactly = 0 // what is uploaded has no generation yet
	m := mutation{name: n, conditions: wanted, request: r, path: "/upload" + (name{bucket: n.bucket}).path(), body: body}
	after, answer, err := s.mutate(m)
	if err != nil {
		return err
	}
	s.answer(w, m, "", after, answer)
	return nil
}

// metadata is what the server itself needs of an upload's metadata.
type metadata struct {
	Name        string `json:"name"`
	ContentType string `json:"contentType"`
}

// singleQuoted is a boundary as gcloud and gsutil send it, which is not valid; Cloud Storage and the fake take it.
var singleQuoted = regexp.MustCompile(`boundary='([^']*)'`)

// multipartMetadata returns the first of a multipart upload's two parts. The fake does not notice when they are cut short.
func multipartMetadata(contentType string, body []byte) (metadata, error) {
	var m metadata
	_, params, err := mime.ParseMediaType(singleQuoted.ReplaceAllString(contentType, `boundary="$1"`))
	if err != nil || params["boundary"] == "" {
		return m, invalid("Invalid Content-Type: %q", contentType)
	}
	parts := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	first, err := parts.NextPart()
	if err != nil || json.NewDecoder(first).Decode(&m) != nil {
		return m, invalid("The first part of the upload is no metadata.")
	}
	if _, err := parts.NextPart(); err != nil {
		return m, invalid("The upload has no content.")
	}
	if _, err := parts.NextPart(); err != io.EOF {
		return m, invalid("The upload does not end after its content.")
	}
	return m, nil
}
