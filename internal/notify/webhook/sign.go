package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"github.com/dagbucket/dagbucket/internal/notify"
)

// keyPrefix is how Standard Webhooks writes a key: behind it the key is base64.
const keyPrefix = "whsec_"

// keyOf is the key that a secret stands for: what follows whsec_, decoded, or else the text itself. Its error does not show it.
func keyOf(secret string) ([]byte, error) {
	coded, standard := strings.CutPrefix(strings.TrimSpace(secret), keyPrefix)
	if !standard {
		return []byte(secret), nil
	}
	key, err := base64.StdEncoding.DecodeString(coded)
	if err != nil || len(key) == 0 {
		return nil, notify.Permanentf("the key of its signature begins with %s, and what follows is not base64: store the whole key", keyPrefix)
	}
	return key, nil
}

// sign is the signature of a body under its ID and the time of sending in Unix seconds. The ID is signed as well, so that who has seen a
// notice cannot bring it as another.
func sign(key []byte, id, sent string, content []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + sent + "."))
	mac.Write(content)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
