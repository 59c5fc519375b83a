// Package googleauth finds Google's credentials, and tells what is wrong with them from what may pass.
package googleauth

import (
	"errors"
	"fmt"
	"log/slog"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"
	"cloud.google.com/go/compute/metadata"
)

// LogIn is the repair where credentials are missing or refused.
const LogIn = "run gcloud auth application-default login, or give the function a service account"

// Default finds the Application Default Credentials. Their tokens are fetched with the context of the request that needs one. Where there
// are none, somebody has to repair that.
func Default(scopes ...string) (*auth.Credentials, error) {
	found, err := credentials.DetectDefault(&credentials.DetectOptions{
		Scopes: scopes,
		Logger: slog.New(slog.DiscardHandler), // the library's debug log, which its environment can turn on, shows tokens
	})
	if err != nil {
		return nil, fmt.Errorf("there are no usable Google credentials: %s: %w", LogIn, err)
	}
	return found, nil
}

// Refused reports whether err says that credentials are good for no access token, and will not be by themselves.
func Refused(err error) bool {
	var noAccount metadata.NotDefinedError // of a machine without a service account
	var refusal *auth.Error
	if !errors.As(err, &refusal) {
		return errors.As(err, &noAccount)
	}
	return refusal.Response != nil && refusal.Response.StatusCode < 500 && !refusal.Temporary()
}
