package gcsserver

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

// failure is an error as Cloud Storage answers with it.
type failure struct {
	status  int
	reason  string // of the JSON API
	code    string // of the XML API
	message string
	details string // of the XML API; may be ""
}

func (f *failure) Error() string { return f.message }

var (
	errNoBucket = &failure{status: http.StatusNotFound, reason: "notFound", code: "NoSuchBucket",
		message: "The specified bucket does not exist."}
	errBucketNotEmpty = &failure{status: http.StatusConflict, reason: "conflict", code: "BucketNotEmpty",
		message: "The bucket you tried to delete is not empty."}
	errPrecondition = &failure{status: http.StatusPreconditionFailed, reason: "conditionNotMet", code: "PreconditionFailed",
		message: "At least one of the pre-conditions you specified did not hold."}
	errNotModified = &failure{status: http.StatusNotModified}
	// errNotSupported has no status above 500, which Google's clients would try again and again.
	errNotSupported = &failure{status: http.StatusBadRequest, reason: "notSupported", code: "NotSupported",
		message: "This server, which stands in for Cloud Storage, does not support the request."}
	errTooLarge = &failure{status: http.StatusRequestEntityTooLarge, reason: "uploadTooLarge", code: "EntityTooLarge",
		message: fmt.Sprintf("The object is larger than %d bytes.", MaxBody)}
)

func invalid(format string, args ...any) error {
	return &failure{status: http.StatusBadRequest, reason: "invalid", code: "InvalidArgument", message: fmt.Sprintf(format, args...)}
}

func noObject(n name, api api) error {
	f := &failure{status: http.StatusNotFound, reason: "notFound", code: "NoSuchKey",
		message: fmt.Sprintf("No such object: %s/%s", n.bucket, n.key)}
	if api == xmlAPI {
		f.message, f.details = "The specified key does not exist.", f.message
	}
	return f
}

func tooManyWrites(n name) error {
	return &failure{status: http.StatusTooManyRequests, reason: "rateLimitExceeded", code: "SlowDown",
		message: fmt.Sprintf("The object %s/%s exceeded the rate limit for object mutation operations (create, update, and delete). "+
			"Please reduce your request rate. See https://cloud.google.com/storage/docs/gcs429.", n.bucket, n.key)}
}

func isTooManyWrites(err error) bool {
	f := new(failure)
	return errors.As(err, &f) && f.status == http.StatusTooManyRequests
}

type jsonErrors struct {
	Error struct {
		Code    int         `json:"code"`
		Message string      `json:"message"`
		Errors  []jsonError `json:"errors"`
	} `json:"error"`
}

type jsonError struct {
	Message      string `json:"message"`
	Domain       string `json:"domain"`
	Reason       string `json:"reason"`
	LocationType string `json:"locationType,omitempty"`
	Location     string `json:"location,omitempty"`
}

type xmlError struct {
	XMLName xml.Name `xml:"Error"`
	Code    string
	Message string
	Details string `xml:",omitempty"`
}

// writeError answers with Google's error document.
func writeError(w http.ResponseWriter, r *http.Request, api api, err error) {
	f := new(failure)
	if !errors.As(err, &f) {
		f = &failure{status: http.StatusInternalServerError, reason: "internalError", code: "InternalError", message: err.Error()}
	}
	if f.status == http.StatusNotModified {
		w.WriteHeader(f.status)
		return
	}
	contentType, document := "application/json; charset=UTF-8", f.json()
	if api == xmlAPI {
		contentType, document = "application/xml; charset=UTF-8", f.xml()
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(document)))
	w.WriteHeader(f.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(document)
	}
}

func (f *failure) json() []byte {
	e := jsonError{Message: f.message, Domain: "global", Reason: f.reason}
	switch f.status {
	case http.StatusPreconditionFailed:
		e.LocationType, e.Location = "header", "If-Match"
	case http.StatusTooManyRequests:
		e.Domain = "usageLimits"
	}
	var document jsonErrors
	document.Error.Code, document.Error.Message, document.Error.Errors = f.status, f.message, []jsonError{e}
	return encoded(document)
}

func (f *failure) xml() []byte {
	document, _ := xml.Marshal(xmlError{Code: f.code, Message: f.message, Details: f.details})
	return append([]byte("<?xml version='1.0' encoding='UTF-8'?>"), document...)
}

// encoded is v, one of this package's documents, as JSON.
func encoded(v any) []byte {
	document, _ := json.Marshal(v)
	return document
}
