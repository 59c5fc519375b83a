# A key whose policy is written from the module's output, and which encrypts whatever the module is given or makes.
terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.40, < 7.0"
    }
  }
}

resource "aws_kms_key" "this" {
  enable_key_rotation = true

  policy = jsonencode({ Version = "2012-10-17", Statement = concat(
    [{ Sid = "Account", Effect = "Allow", Principal = { AWS = "arn:aws:iam::123456789012:root" }, Action = "kms:*", Resource = "*" }],
    jsondecode(module.dagbucket.kms_key_policy_statements),
  ) })
}

resource "aws_sns_topic" "alarms" {
  kms_master_key_id = aws_kms_key.this.arn
}

resource "aws_secretsmanager_secret" "token" {
  name_prefix = "astro-"
  kms_key_id  = aws_kms_key.this.arn
}

module "dagbucket" {
  source   = "../.."
  zip_file = "tests/function.zip"
  routes   = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "d1" }]
  buckets = {
    acme-dags = { create = true, kms_key_arn = aws_kms_key.this.arn }
    acme-kept = { create = true, kms_key_arn = aws_kms_key.this.arn }
  }

  kms_key_arn         = aws_kms_key.this.arn
  former_kms_key_arns = [aws_kms_key.this.arn]
  token_kms_key_arns  = [aws_kms_key.this.arn]
  token_secret        = aws_secretsmanager_secret.token.arn
  create_token_secret = false
  alarm_topic_arn     = aws_sns_topic.alarms.arn
  create_alarm_topic  = false
}
