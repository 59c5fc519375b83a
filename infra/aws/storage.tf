# The state bucket, and the source buckets that the module is asked to create. Existing buckets appear nowhere in here.

locals {
  # bucket → the key that encrypts it; null: S3's own.
  bucket_key = { for b, s in local.created_buckets : b => s.kms_key_arn != null ? s.kms_key_arn : local.kms_key_arn }
}

resource "aws_s3_bucket" "state" {
  bucket        = local.state_bucket
  force_destroy = false
  tags          = var.tags

  # S3 refuses to delete a bucket that is not empty. Destroyed after it, the key outlives such a bucket, and its objects stay readable.
  depends_on = [aws_kms_key.this]
}

resource "aws_s3_bucket_public_access_block" "state" {
  bucket                  = aws_s3_bucket.state.bucket
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "state" {
  bucket = aws_s3_bucket.state.bucket

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "state" {
  bucket = aws_s3_bucket.state.bucket

  rule {
    bucket_key_enabled = local.customer_key ? true : null

    apply_server_side_encryption_by_default {
      sse_algorithm     = local.customer_key ? "aws:kms" : "AES256"
      kms_master_key_id = local.kms_key_arn
    }
  }
}

resource "aws_s3_bucket_versioning" "state" {
  bucket = aws_s3_bucket.state.bucket

  versioning_configuration {
    status = "Enabled"
  }
}

# No rule touches current objects: the code alone knows which bundles and manifests are still needed.
resource "aws_s3_bucket_lifecycle_configuration" "state" {
  bucket = aws_s3_bucket.state.bucket

  rule {
    id     = "unfinished-uploads"
    status = "Enabled"
    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  # The lease is written every 20 s of a run: a week of old versions is enough to look back.
  rule {
    id     = "old-versions"
    status = "Enabled"
    filter {}

    noncurrent_version_expiration {
      noncurrent_days = 7
    }
  }

  rule {
    id     = "delete-markers"
    status = "Enabled"
    filter {}

    expiration {
      expired_object_delete_marker = true
    }
  }

  depends_on = [aws_s3_bucket_versioning.state]
}

resource "aws_s3_bucket_policy" "state" {
  bucket = aws_s3_bucket.state.bucket
  policy = local.tls_only_bucket[local.state_bucket]

  depends_on = [aws_s3_bucket_public_access_block.state]
}

# Without tags: an object takes ten at most, and a provider's default tags may be more. The bucket's encryption applies.
resource "aws_s3_object" "config" {
  bucket       = aws_s3_bucket.state.bucket
  key          = "dagbucket.yaml"
  content      = local.config
  content_type = "application/yaml"

  override_provider {
    default_tags {
      tags = {}
    }
  }

  depends_on = [
    aws_s3_bucket_ownership_controls.state,
    aws_s3_bucket_policy.state,
    aws_s3_bucket_server_side_encryption_configuration.state,
    aws_s3_bucket_versioning.state,
  ]
}

resource "aws_s3_bucket" "dags" {
  for_each = local.created_buckets

  bucket        = each.key
  force_destroy = false
  tags          = var.tags

  # Users' files are in it. S3 would keep the bucket, but what protects it would be gone by then: the plan refuses first.
  lifecycle {
    prevent_destroy = true
  }

  # As for the state: what stays must stay readable.
  depends_on = [aws_kms_key.this]
}

resource "aws_s3_bucket_public_access_block" "dags" {
  for_each = local.created_buckets

  bucket                  = aws_s3_bucket.dags[each.key].bucket
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "dags" {
  for_each = local.created_buckets

  bucket = aws_s3_bucket.dags[each.key].bucket

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "dags" {
  for_each = local.created_buckets

  bucket = aws_s3_bucket.dags[each.key].bucket

  rule {
    bucket_key_enabled = local.bucket_key[each.key] == null ? null : true

    apply_server_side_encryption_by_default {
      sse_algorithm     = local.bucket_key[each.key] == null ? "AES256" : "aws:kms"
      kms_master_key_id = local.bucket_key[each.key]
    }
  }
}

resource "aws_s3_bucket_versioning" "dags" {
  for_each = local.created_buckets

  bucket = aws_s3_bucket.dags[each.key].bucket

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "dags" {
  for_each = local.created_buckets

  bucket = aws_s3_bucket.dags[each.key].bucket

  rule {
    id     = "unfinished-uploads"
    status = "Enabled"
    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  rule {
    id     = "old-versions"
    status = "Enabled"
    filter {}

    noncurrent_version_expiration {
      noncurrent_days = each.value.noncurrent_days
    }
  }

  # A listing reads over every delete marker; thousands of them make it slow.
  rule {
    id     = "delete-markers"
    status = each.value.expire_delete_markers ? "Enabled" : "Disabled"
    filter {}

    expiration {
      expired_object_delete_marker = true
    }
  }

  depends_on = [aws_s3_bucket_versioning.dags]
}

resource "aws_s3_bucket_policy" "dags" {
  for_each = local.created_buckets

  bucket = aws_s3_bucket.dags[each.key].bucket
  policy = local.tls_only_bucket[each.key]

  depends_on = [aws_s3_bucket_public_access_block.dags]
}

locals {
  tls_only_bucket = { for b in concat([local.state_bucket], keys(local.created_buckets)) : b => jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TLSOnly"
      Effect    = "Deny"
      Principal = "*"
      # wildcard: it denies, and so must name every action and every object
      Action    = "s3:*"
      Resource  = ["arn:${local.partition}:s3:::${b}", "arn:${local.partition}:s3:::${b}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  }) }
}
