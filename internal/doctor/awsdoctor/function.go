package awsdoctor

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/dagbucket/dagbucket/internal/doctor"
)

// leastMemory is in MB: a run with the syntax check needs up to 450.
const leastMemory = 512

// function checks the function at the end of the way. visibility is the time-out of the queue that it reads; 0 if there is none.
func (d *Doctor) function(ctx context.Context, w doctor.Want, function string, visibility time.Duration) []doctor.Check {
	const name = "function"
	inRegion := func(o *lambda.Options) {
		if parsed, err := arn.Parse(function); err == nil {
			o.Region = d.regionOf(parsed)
		}
	}
	f, err := d.lambda.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &function}, inRegion)
	switch {
	case err != nil && isMissing(err):
		return []doctor.Check{doctor.Bad(name, "apply Terraform again, or point what calls it to a function that is there", "%s does not exist", function)}
	case err != nil:
		return []doctor.Check{cannotLook(name, "lambda:GetFunctionConfiguration", err)}
	}
	label := aws.ToString(f.FunctionName)
	checks := append(unfit(label, f), environment(w, label, f)...)
	if len(checks) == 0 {
		checks = append(checks, d.stopped(ctx, label, function, inRegion)...)
	}
	checks = append(checks, sizes(w, label, f, visibility)...)
	if len(checks) == 0 {
		checks = append(checks, doctor.Good(name, "%s is ready: %d s, %d MB", label, aws.ToInt32(f.Timeout), aws.ToInt32(f.MemorySize)))
	}
	return checks
}

// unfit tells of a function that cannot be called, or not with its newest code.
func unfit(label string, f *lambda.GetFunctionConfigurationOutput) []doctor.Check {
	switch {
	case f.State == types.StateFailed:
		return []doctor.Check{doctor.Bad("function", "repair what it says (its role, its VPC, its key), and deploy the function again",
			"%s cannot be called: %s", label, doctor.Line(aws.ToString(f.StateReason)))}
	case f.LastUpdateStatus == types.LastUpdateStatusFailed:
		return []doctor.Check{doctor.Warn("function", "repair what it says, and deploy the function again",
			"the last update of %s failed, and its former version runs: %s", label, doctor.Line(aws.ToString(f.LastUpdateStatusReason)))}
	}
	return nil
}

func environment(w doctor.Want, label string, f *lambda.GetFunctionConfigurationOutput) []doctor.Check {
	env := map[string]string{}
	if f.Environment != nil {
		if f.Environment.Error != nil {
			return []doctor.Check{doctor.Warn("function", "allow kms:Decrypt on the function's key to these credentials to have it checked",
				"the variables of %s cannot be read: %s", label, doctor.Line(aws.ToString(f.Environment.Error.ErrorCode)))}
		}
		env = f.Environment.Variables
	}
	return w.CheckSettings(label, env)
}

// stopped finds the switch that people use to stop a function.
func (d *Doctor) stopped(ctx context.Context, label, function string, options ...func(*lambda.Options)) []doctor.Check {
	c, err := d.lambda.GetFunctionConcurrency(ctx, &lambda.GetFunctionConcurrencyInput{FunctionName: &function}, options...)
	switch {
	case err != nil:
		return []doctor.Check{cannotLook("function", "lambda:GetFunctionConcurrency", err)}
	case c.ReservedConcurrentExecutions != nil && *c.ReservedConcurrentExecutions == 0:
		return []doctor.Check{doctor.Bad("function", "aws lambda delete-function-concurrency --function-name "+label,
			"%s is stopped: its reserved concurrency is 0", label)}
	}
	return nil
}

// sizes tells of limits that runs can meet.
func sizes(w doctor.Want, label string, f *lambda.GetFunctionConfigurationOutput, visibility time.Duration) []doctor.Check {
	timeout := time.Duration(aws.ToInt32(f.Timeout)) * time.Second
	checks := w.CheckTimeout(label, timeout)
	warn := func(repair, format string, args ...any) {
		checks = append(checks, doctor.Warn("function", repair, format, args...))
	}
	if visibility > 0 && visibility < timeout {
		warn(fmt.Sprintf("set the queue's visibility time-out to at least %d s", int(timeout.Seconds())),
			"the queue hands a message out again after %s, while %s may still work on it (%s)", visibility, label, timeout)
	}
	if memory := aws.ToInt32(f.MemorySize); memory < leastMemory {
		warn(fmt.Sprintf("set its memory to %d MB", leastMemory), "%s has %d MB: a run with the syntax check may need more", label, memory)
	}
	return checks
}
