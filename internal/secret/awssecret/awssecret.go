// Package awssecret reads secrets from AWS Secrets Manager and from the Systems Manager Parameter Store.
package awssecret

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/smithy-go"

	"github.com/dagbucket/dagbucket/internal/secret"
)

// readTimeout bounds one read with the SDK's own retries.
const readTimeout = 20 * time.Second

// Sources resolves aws-sm:ARN[#json-key] (Secrets Manager; a name will do) and aws-ssm:NAME (Parameter Store, decrypted).
// What an ARN names is read in the ARN's region, everything else in that of cfg. The SDK retries throttling and network
// faults as cfg says.
func Sources(cfg aws.Config) secret.Resolver {
	secrets, parameters := secretsmanager.NewFromConfig(cfg), ssm.NewFromConfig(cfg)
	return secret.Resolver{
		"aws-sm": func(ctx context.Context, ref string) (string, error) {
			region, err := regionOf(ref, cfg)
			if err != nil {
				return "", err
			}
			return readSecret(ctx, secrets, region, ref)
		},
		"aws-ssm": func(ctx context.Context, ref string) (string, error) {
			region, err := regionOf(ref, cfg)
			if err != nil {
				return "", err
			}
			return readParameter(ctx, parameters, region, ref)
		},
	}
}

func regionOf(ref string, cfg aws.Config) (string, error) {
	if name, err := arn.Parse(ref); err == nil && name.Region != "" {
		return name.Region, nil
	}
	if cfg.Region == "" {
		return "", secret.Permanentf("no AWS region is known: set AWS_REGION, or write the whole ARN")
	}
	return cfg.Region, nil
}

func readSecret(ctx context.Context, client *secretsmanager.Client, region, ref string) (string, error) {
	id, key, withKey := strings.Cut(ref, "#")
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	got, err := client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &id},
		func(o *secretsmanager.Options) { o.Region = region })
	if err != nil {
		return "", explain(err, region, "secretsmanager:GetSecretValue")
	}
	if got.SecretString == nil {
		return "", secret.Permanentf("it is a binary secret: store it as text (SecretString)")
	}
	return secret.Member(*got.SecretString, key, withKey, "aws-sm:ARN#token")
}

func readParameter(ctx context.Context, client *ssm.Client, region, name string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	got, err := client.GetParameter(ctx, &ssm.GetParameterInput{Name: &name, WithDecryption: aws.Bool(true)},
		func(o *ssm.Options) { o.Region = region })
	if err != nil {
		return "", explain(err, region, "ssm:GetParameter")
	}
	if got.Parameter == nil {
		return "", errors.New("the Parameter Store answered without a parameter")
	}
	return aws.ToString(got.Parameter.Value), nil
}

// repairs are the refusals of AWS that will not pass by themselves. %[1]s is the region, %[2]s the action.
var repairs = map[string]string{
	"ResourceNotFoundException":   "there is no such secret in region %[1]s: correct its name or ARN, and the region",
	"ParameterNotFound":           "there is no such parameter in region %[1]s: correct its name, and the region",
	"ParameterVersionNotFound":    "there is no such version of the parameter in region %[1]s: correct the version",
	"AccessDeniedException":       "access is denied: allow %[2]s on it, and kms:Decrypt on its key, to this function's role",
	"DecryptionFailure":           "it cannot be decrypted: allow kms:Decrypt on its key, and see that the key is enabled",
	"InvalidKeyId":                "it cannot be decrypted: see that its KMS key exists and is enabled",
	"InvalidRequestException":     "it cannot be read now: it may be marked for deletion; restore it",
	"InvalidParameterException":   "AWS does not accept the reference: correct its name or ARN",
	"ValidationException":         "AWS does not accept the reference: correct its name or ARN",
	"UnrecognizedClientException": "AWS does not know the credentials: correct them",
	"InvalidSignatureException":   "AWS does not accept the credentials: correct them",
	"MissingAuthenticationToken":  "AWS got no credentials: set them",
}

// explain adds the repair. The SDK's error stays in the chain: it holds codes and a request ID, never a value.
func explain(err error, region, action string) error {
	var refusal smithy.APIError
	if errors.As(err, &refusal) {
		if repair, ok := repairs[refusal.ErrorCode()]; ok {
			return &secret.PermanentError{Err: fmt.Errorf(repair+": %[3]w", region, action, err)}
		}
	}
	return fmt.Errorf("cannot be read from AWS in region %s: %w", region, err)
}
