package awsdoctor

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/dagbucket/dagbucket/internal/doctor"
)

// fewReceives is too few: a run that others overtake, or Astro's bad hour, may take several.
const fewReceives = 10

// queue checks a queue and what reads it.
func (d *Doctor) queue(ctx context.Context, w doctor.Want, name arn.ARN, sender string) []doctor.Check {
	attributes, err := d.attributes(ctx, name)
	var checks []doctor.Check
	visibility := time.Duration(0)
	switch {
	case err != nil && isMissing(err):
		return []doctor.Check{doctor.Bad("queue", "apply Terraform again, or let the bucket tell a queue that is there", "changes go to %s, which does not exist", name)}
	case err != nil:
		checks = append(checks, cannotLook("queue", "sqs:GetQueueUrl and sqs:GetQueueAttributes", err))
	default:
		seconds, _ := strconv.Atoi(attributes["VisibilityTimeout"])
		visibility = time.Duration(seconds) * time.Second
		checks = append(checks, checkQueue(w, name, sender, attributes))
		if checks[0].Status == doctor.Fault {
			return checks
		}
		checks = append(checks, d.deadLetters(ctx, attributes["RedrivePolicy"])...)
	}
	return append(checks, d.mapping(ctx, w, name, visibility)...)
}

func (d *Doctor) attributes(ctx context.Context, name arn.ARN) (map[string]string, error) {
	inRegion := func(o *sqs.Options) { o.Region = d.regionOf(name) }
	url, err := d.sqs.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name.Resource, QueueOwnerAWSAccountId: &name.AccountID}, inRegion)
	if err != nil {
		return nil, err
	}
	answer, err := d.sqs.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: url.QueueUrl, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}}, inRegion)
	if err != nil {
		return nil, err
	}
	return answer.Attributes, nil
}

// checkQueue checks who may send there.
func checkQueue(w doctor.Want, name arn.ARN, sender string, attributes map[string]string) doctor.Check {
	source := "arn:" + name.Partition + ":s3:::" + w.Source.Bucket
	if sender == senderEventBridge {
		source = "" // the rule's, which the policy may name in many ways
	}
	if !maySend(attributes["Policy"], sender, source) {
		from := ""
		if source != "" {
			from = " with aws:SourceArn " + source
		}
		return doctor.Bad("queue", fmt.Sprintf("apply Terraform again, or let the queue's policy allow sqs:SendMessage to %s%s", sender, from),
			"the policy of the queue %s lets %s not send%s: every event is lost", name.Resource, sender, from)
	}
	if key := attributes["KmsMasterKeyId"]; key == "alias/aws/sqs" {
		return doctor.Bad("queue", "encrypt the queue with SSE-SQS, or with a key of your own whose policy lets "+sender+" use it",
			"the queue %s is encrypted with AWS's own key for SQS, which %s cannot use: every event is lost", name.Resource, sender)
	}
	says := fmt.Sprintf("%s takes events", name.Resource)
	if key := attributes["KmsMasterKeyId"]; key != "" {
		says += "; that the policy of its key " + doctor.Line(key) + " lets " + sender + " use it is not proven"
	}
	return doctor.Good("queue", "%s", says)
}

// deadLetters checks where messages end that nobody could handle.
func (d *Doctor) deadLetters(ctx context.Context, policy string) []doctor.Check {
	const name = "dead letters"
	var redrive struct {
		Target string      `json:"deadLetterTargetArn"`
		Max    json.Number `json:"maxReceiveCount"` // or one in quotes
	}
	_ = json.Unmarshal([]byte(policy), &redrive)
	target, err := arn.Parse(redrive.Target)
	if err != nil {
		return []doctor.Check{doctor.Warn(name, "give the queue a dead-letter queue, with a maxReceiveCount of 10", "the queue has none: what cannot be understood comes again for days")}
	}
	if most, _ := redrive.Max.Int64(); most < fewReceives {
		return []doctor.Check{doctor.Warn(name, "set the queue's maxReceiveCount to 10",
			"a message becomes one after %d receives: an hour without Astro makes dead letters of good events", most)}
	}
	attributes, err := d.attributes(ctx, target)
	if err != nil && isMissing(err) {
		return []doctor.Check{doctor.Bad(name, "make that queue again, or name another in the queue's redrive policy", "the dead-letter queue %s does not exist", target)}
	}
	if err != nil {
		return []doctor.Check{cannotLook(name, "sqs:GetQueueUrl and sqs:GetQueueAttributes", err)}
	}
	if waiting, _ := strconv.Atoi(attributes["ApproximateNumberOfMessages"]); waiting > 0 {
		return []doctor.Check{doctor.Warn(name, "look at one of them and repair its cause; then move them back: aws sqs start-message-move-task --source-arn "+target.String(),
			"about %s in %s wait for somebody to look", doctor.Count(waiting, "message"), target.Resource)}
	}
	return []doctor.Check{doctor.Good(name, "%s is empty", target.Resource)}
}

// mapping checks what hands the queue's messages to the function, and then the function.
func (d *Doctor) mapping(ctx context.Context, w doctor.Want, queue arn.ARN, visibility time.Duration) []doctor.Check {
	const name = "event source mapping"
	source := queue.String()
	answer, err := d.lambda.ListEventSourceMappings(ctx, &lambda.ListEventSourceMappingsInput{EventSourceArn: &source},
		func(o *lambda.Options) { o.Region = d.regionOf(queue) })
	if err != nil {
		return []doctor.Check{cannotLook(name, "lambda:ListEventSourceMappings", err)}
	}
	if len(answer.EventSourceMappings) == 0 {
		return []doctor.Check{doctor.Bad(name, "apply Terraform again, or: aws lambda create-event-source-mapping --event-source-arn "+source+
			" --function-response-types ReportBatchItemFailures --function-name FUNCTION", "no function reads the queue %s", queue.Resource)}
	}
	byID := map[string]lambdatypes.EventSourceMappingConfiguration{}
	var ids []string
	for _, m := range answer.EventSourceMappings {
		ids = append(ids, aws.ToString(m.UUID))
		byID[aws.ToString(m.UUID)] = m
	}
	return doctor.Choose(ids, ids, func(id string) []doctor.Check {
		checks := []doctor.Check{checkMapping(byID[id])}
		if checks[0].Status == doctor.Fault {
			return checks
		}
		return append(checks, d.function(ctx, w, aws.ToString(byID[id].FunctionArn), visibility)...)
	})
}

func checkMapping(m lambdatypes.EventSourceMappingConfiguration) doctor.Check {
	const name = "event source mapping"
	id := aws.ToString(m.UUID)
	update := "aws lambda update-event-source-mapping --uuid " + id
	reports := false
	for _, kind := range m.FunctionResponseTypes {
		reports = reports || kind == lambdatypes.FunctionResponseTypeReportBatchItemFailures
	}
	result := doctor.Line(aws.ToString(m.LastProcessingResult))
	switch state := aws.ToString(m.State); {
	case state == "Disabled" || state == "Disabling":
		return doctor.Bad(name, update+" --enabled", "it is %s: events wait in the queue", state)
	case !reports:
		return doctor.Bad(name, update+" --function-response-types ReportBatchItemFailures",
			"ReportBatchItemFailures is off: events that should come again are lost")
	case strings.HasPrefix(result, "PROBLEM"):
		return doctor.Warn(name, "repair what it says; the function's role needs sqs:ReceiveMessage, sqs:DeleteMessage and sqs:GetQueueAttributes on the queue", "%s", result)
	default:
		return doctor.Good(name, "%s, and reports failures one by one", state)
	}
}
