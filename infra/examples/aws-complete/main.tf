terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.40, < 7.0"
    }
  }
}

provider "aws" {
  region = "eu-west-1"
}

# Every input of the module, once. Few need more than a handful of them.
module "dagbucket" {
  source = "../../aws"
  name   = "acme-dags"

  routes = [
    {
      name = "prod"
      sources = [
        { url = "s3://acme-new-dags/dags/" },
        { url = "s3://ml-team-dags/dags/", mount = "ml", syntax = "hold" },
      ]
      deployment       = "clmh57jtm000008lb58fe2wmv"
      organization     = "clmg78a9d000008l7ek2m1a2b"
      quiet_period     = "15s"
      max_wait         = "5m"
      syntax           = "keep-last-good"
      guard            = { allow_empty = false, max_removed_percent = 30, max_removed_files = 20 }
      limits           = { max_files = 20000, max_bytes = "1GiB" }
      replace_existing = false
      on_drift         = "heal"
      base_dir         = "dags"
      keep_bundles     = 50
      status           = "s3://acme-dag-status/prod/"
      import_errors    = true
      notify = [
        "sns:arn:aws:sns:eu-west-1:123456789012:dag-authors",
        "slack:aws-ssm:/slack/dag-authors", # the webhook's address
        jsonencode({
          to     = "webhook:https://hooks.example.com/dags"
          secret = "aws-sm:arn:aws:secretsmanager:eu-west-1:123456789012:secret:hooks-AbCdEf#key" # signs the bodies
          format = "json"
          events = ["failed", "held", "recovered"]
        }),
      ]
    },
    {
      name       = "staging"
      sources    = [{ url = "s3://acme-new-dags/staging/" }]
      deployment = "clmh57jtm000008lb58fe2stg"
      token      = "aws-ssm:/astro/staging"
    },
  ]

  buckets = {
    # Made by the module, with its notification document.
    acme-new-dags = { create = true, manage_bucket_notification = true, noncurrent_days = 60, expire_delete_markers = true }

    # Another team's, in its own account: see the output other_account.
    ml-team-dags = {
      account_id  = "210987654321"
      kms_key_arn = "arn:aws:kms:eu-west-1:210987654321:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    }
  }

  token_secret        = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:astro-AbCdEf#prod"
  create_token_secret = false
  token_kms_key_arns  = ["arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"]
  notify_kms_key_arns = ["arn:aws:kms:eu-west-1:123456789012:key/22222222-3333-4444-5555-666666666666"]
  status_kms_key_arns = ["arn:aws:kms:eu-west-1:123456789012:key/33333333-4444-5555-6666-777777777777"]
  astro_api_url       = "https://api.astronomer.io/v1"

  trigger       = "eventbridge"
  check_buckets = true

  # Or zip_s3 = { bucket = "acme-code", key = "lambda-arm64.zip", object_version = "…", sha256_base64 = "…" }
  zip_file     = var.zip_file
  zip_s3       = null
  architecture = "arm64"
  memory_size  = 1024
  timeout      = 480

  vpc = {
    subnet_ids         = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
    security_group_ids = ["sg-0123456789abcdef0"]
  }

  iam_path                 = "/service/"
  permissions_boundary_arn = "arn:aws:iam::123456789012:policy/boundary"
  log_retention_days       = 90

  # Or kms_key_arn, whose policy needs what the output kms_key_policy_statements prints before the first apply. After a change the former
  # key stays in former_kms_key_arns until nothing is encrypted with it any more.
  create_kms_key      = true
  kms_key_arn         = null
  former_kms_key_arns = []
  state_bucket_name   = "acme-dagbucket-state"

  queue_visibility_timeout = 3600
  batch_size               = 1000
  batch_window             = 2
  max_concurrency          = 4
  reconcile_schedule       = "rate(5 minutes)"

  alarms                 = true
  alarm_per_route        = true
  alarm_held             = true
  alarm_topic_arn        = null
  create_alarm_topic     = true
  alarm_emails           = ["dags@example.com"]
  oldest_message_seconds = 7200
  dashboard              = true

  tags = { team = "data-platform" }
}
