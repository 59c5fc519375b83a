# What the module is given is made by the same apply, so no ARN or ID is known when planning: only names are.
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
}

resource "aws_sns_topic" "alarms" {
  kms_master_key_id = aws_kms_key.this.arn
}

resource "aws_secretsmanager_secret" "token" {
  name = "astro"
}

resource "aws_iam_policy" "boundary" {
  name   = "boundary"
  policy = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Action = "s3:GetObject", Resource = "arn:aws:s3:::acme-dags/dags/*" }] })
}

resource "aws_subnet" "this" {
  vpc_id     = "vpc-0123456789abcdef0"
  cidr_block = "10.0.0.0/24"
}

resource "aws_security_group" "this" {
  vpc_id = "vpc-0123456789abcdef0"
}

resource "aws_s3_bucket" "dags" {
  bucket = "acme-dags"
}

module "dagbucket" {
  source   = "../.."
  zip_file = "tests/function.zip"

  routes = [
    { name = "dev", sources = [{ url = "s3://${aws_s3_bucket.dags.bucket}/dev/" }], deployment = "d1", token = "aws-sm:${aws_secretsmanager_secret.token.arn}" },
    { name = "prod", sources = [{ url = "s3://${aws_s3_bucket.dags.bucket}/prod/" }], deployment = "d2", status = "s3://acme-status/prod/", notify = ["sns:${aws_sns_topic.alarms.arn}", "slack:aws-sm:${aws_secretsmanager_secret.token.arn}"] },
  ]
  notify_kms_key_arns = [aws_kms_key.this.arn]
  status_kms_key_arns = [aws_kms_key.this.arn]
  buckets             = { acme-dags = { kms_key_arn = aws_kms_key.this.arn } }
  check_buckets       = false # it is not there yet

  token_secret             = aws_secretsmanager_secret.token.arn
  create_token_secret      = false
  token_kms_key_arns       = [aws_kms_key.this.arn]
  kms_key_arn              = aws_kms_key.this.arn
  alarm_topic_arn          = aws_sns_topic.alarms.arn
  create_alarm_topic       = false
  permissions_boundary_arn = aws_iam_policy.boundary.arn
  vpc                      = { subnet_ids = [aws_subnet.this.id], security_group_ids = [aws_security_group.this.id] }
}
