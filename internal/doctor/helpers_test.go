package doctor_test

import (
	"encoding/base64"

	"github.com/dagbucket/dagbucket/internal/doctor/awsdoctor"
)

func encoded(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func rightsOfAWS() []string { return awsdoctor.Rights }
