# One function for all routes. It keeps nothing between invocations but clients: everything else is in the state bucket.

locals {
  zip = coalesce(var.zip_file, "${path.module}/../../build/lambda-${var.architecture == "x86_64" ? "amd64" : "arm64"}.zip")
}

resource "aws_cloudwatch_log_group" "function" {
  name              = local.log_group_name
  retention_in_days = var.log_retention_days
  kms_key_id        = local.kms_key_arn
  tags              = var.tags
}

resource "aws_lambda_function" "this" {
  function_name = var.name
  description   = "Deploys the DAG files of buckets to Astro (dagbucket)"
  role          = aws_iam_role.function.arn
  runtime       = "provided.al2023"
  handler       = "bootstrap"
  architectures = [var.architecture]
  memory_size   = var.memory_size
  timeout       = var.timeout
  tags          = var.tags

  # The hash is that of the content, wherever it lies: the same zip is no change.
  filename          = var.zip_s3 == null ? local.zip : null
  s3_bucket         = try(var.zip_s3.bucket, null)
  s3_key            = try(var.zip_s3.key, null)
  s3_object_version = try(var.zip_s3.object_version, null)
  source_code_hash  = var.zip_s3 == null ? filebase64sha256(local.zip) : var.zip_s3.sha256_base64

  # No secret is in here, so the key that Lambda brings along is enough. A new hash starts new instances, which read the new file.
  environment {
    variables = { for k, v in {
      ASTRO_API_URL    = var.astro_api_url
      CONFIG_SHA256    = sha256(local.config)
      DAGBUCKET_CONFIG = local.config_url
    } : k => v if v != null }
  }

  # Nothing is spooled to disk, so the least there is will do for every limit.
  ephemeral_storage {
    size = 512
  }

  # The function writes JSON itself; its metrics must arrive as they are.
  logging_config {
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.function.name
  }

  dynamic "vpc_config" {
    for_each = var.vpc == null ? [] : [var.vpc]
    content {
      subnet_ids         = vpc_config.value.subnet_ids
      security_group_ids = vpc_config.value.security_group_ids
    }
  }

  # An instance reads the file and its rights once: both must be there first.
  depends_on = [aws_iam_role_policy.function, aws_s3_object.config]
}

resource "aws_lambda_event_source_mapping" "queue" {
  event_source_arn                   = aws_sqs_queue.events.arn
  function_name                      = aws_lambda_function.this.arn
  batch_size                         = var.batch_size
  maximum_batching_window_in_seconds = var.batch_window
  function_response_types            = ["ReportBatchItemFailures"]
  tags                               = var.tags

  # One run at a time for each route: more invocations would only ring the one that works. Lambda takes 2 to 1000.
  scaling_config {
    maximum_concurrency = coalesce(var.max_concurrency, min(1000, max(2, length(var.routes))))
  }

  depends_on = [aws_iam_role_policy.function]
}

# Empty on purpose: a version made here would be in Terraform's state. fill_token_command fills it.
resource "aws_secretsmanager_secret" "token" {
  count = local.create_token_secret ? 1 : 0

  name_prefix             = "${var.name}/astro-api-token-" # a deleted secret's name is not free for days
  description             = "Astro API token of dagbucket"
  kms_key_id              = local.kms_key_arn
  recovery_window_in_days = 7
  tags                    = var.tags
}
