# Values as AWS gives them, since the provider checks the form of ARNs and policies also where it is mocked.

mock_data "aws_caller_identity" {
  defaults = {
    account_id = "123456789012"
    arn        = "arn:aws:iam::123456789012:user/operator"
    id         = "123456789012"
    user_id    = "AIDACKCEVSQ6C2EXAMPLE"
  }
}

mock_data "aws_partition" {
  defaults = {
    dns_suffix         = "amazonaws.com"
    id                 = "aws"
    partition          = "aws"
    reverse_dns_prefix = "com.amazonaws"
  }
}

mock_data "aws_region" {
  defaults = {
    description = "Europe (Ireland)"
    endpoint    = "ec2.eu-west-1.amazonaws.com"
    region      = "eu-west-1"
  }
}

mock_data "aws_s3_bucket" {
  defaults = {
    arn                         = "arn:aws:s3:::acme-dags"
    bucket_domain_name          = "acme-dags.s3.amazonaws.com"
    bucket_region               = "eu-west-1"
    bucket_regional_domain_name = "acme-dags.s3.eu-west-1.amazonaws.com"
    hosted_zone_id              = "Z1BKCTXD74EZPE"
    id                          = "acme-dags"
  }
}

mock_resource "aws_cloudwatch_dashboard" {
  defaults = { dashboard_arn = "arn:aws:cloudwatch::123456789012:dashboard/dagbucket-eu-west-1" }
}

mock_resource "aws_cloudwatch_event_rule" {
  defaults = { arn = "arn:aws:events:eu-west-1:123456789012:rule/dagbucket-acme-dags-1" }
}

mock_resource "aws_cloudwatch_log_group" {
  defaults = { arn = "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/lambda/dagbucket" }
}

mock_resource "aws_cloudwatch_metric_alarm" {
  defaults = { arn = "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:dagbucket-errors" }
}

mock_resource "aws_iam_role" {
  defaults = {
    arn       = "arn:aws:iam::123456789012:role/dagbucket-eu-west-1"
    id        = "dagbucket-eu-west-1"
    unique_id = "AROADBQP57FF2AEXAMPLE"
  }
}

mock_resource "aws_kms_alias" {
  defaults = {
    arn            = "arn:aws:kms:eu-west-1:123456789012:alias/dagbucket"
    target_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  }
}

mock_resource "aws_kms_key" {
  defaults = {
    arn    = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    id     = "1234abcd-12ab-34cd-56ef-1234567890ab"
    key_id = "1234abcd-12ab-34cd-56ef-1234567890ab"
  }
}

mock_resource "aws_lambda_event_source_mapping" {
  defaults = {
    arn  = "arn:aws:lambda:eu-west-1:123456789012:event-source-mapping:a1b2c3d4-5678-90ab-cdef-11111EXAMPLE"
    id   = "a1b2c3d4-5678-90ab-cdef-11111EXAMPLE"
    uuid = "a1b2c3d4-5678-90ab-cdef-11111EXAMPLE"
  }
}

mock_resource "aws_lambda_function" {
  defaults = {
    arn           = "arn:aws:lambda:eu-west-1:123456789012:function:dagbucket"
    invoke_arn    = "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-west-1:123456789012:function:dagbucket/invocations"
    qualified_arn = "arn:aws:lambda:eu-west-1:123456789012:function:dagbucket:1"
  }
}

mock_resource "aws_s3_bucket" {
  defaults = { arn = "arn:aws:s3:::acme-dags" }
}

mock_resource "aws_secretsmanager_secret" {
  defaults = {
    arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:dagbucket/astro-api-token-20261125103439000000000001-AbCdEf"
    id  = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:dagbucket/astro-api-token-20261125103439000000000001-AbCdEf"
  }
}

mock_resource "aws_sns_topic" {
  defaults = {
    arn   = "arn:aws:sns:eu-west-1:123456789012:dagbucket-alarms"
    id    = "arn:aws:sns:eu-west-1:123456789012:dagbucket-alarms"
    owner = "123456789012"
  }
}

mock_resource "aws_sns_topic_subscription" {
  defaults = {
    arn      = "arn:aws:sns:eu-west-1:123456789012:dagbucket-alarms:8a21d249-4329-4871-acc6-7be709c6ea7f"
    owner_id = "123456789012"
  }
}

mock_resource "aws_sqs_queue" {
  defaults = {
    arn = "arn:aws:sqs:eu-west-1:123456789012:dagbucket"
    id  = "https://sqs.eu-west-1.amazonaws.com/123456789012/dagbucket"
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/dagbucket"
  }
}
