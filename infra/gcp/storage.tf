locals {
  config_url = "gs://${local.state_bucket}/dagbucket.yaml"
}

# Records, leases, manifests and bundles, and beside them the configuration file and the package.
resource "google_storage_bucket" "state" {
  project                     = var.project
  name                        = local.state_bucket
  location                    = upper(var.region)
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false
  labels                      = var.labels

  versioning {
    enabled = true
  }

  # Versions keep what is overwritten. Soft delete would keep it a second time, and every renewal of a lease (one in 20 s while a run works) with it.
  soft_delete_policy {
    retention_duration_seconds = 0
  }

  # No rule may touch what is live: the program prunes its bundles and manifests.
  lifecycle_rule {
    action {
      type = "Delete"
    }

    condition {
      days_since_noncurrent_time = var.state_version_days
      with_state                 = "ARCHIVED"
    }
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }

    condition {
      age = 7
    }
  }

  dynamic "encryption" {
    for_each = local.kms ? [var.kms_key] : []

    content {
      default_kms_key_name = encryption.value
    }
  }

  depends_on = [google_project_service.this, google_kms_crypto_key_iam_member.storage]
}

resource "google_storage_bucket_object" "config" {
  bucket       = google_storage_bucket.state.name
  name         = "dagbucket.yaml"
  content      = local.config
  content_type = "application/yaml"
}

# Source buckets that the module is asked to make, with or without a route. Existing ones are never resources here.
resource "google_storage_bucket" "source" {
  for_each = { for name, b in local.buckets : name => b if b.create }

  project                     = var.project
  name                        = each.key
  location                    = upper(coalesce(each.value.location, var.region))
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false
  labels                      = var.labels

  # A file that was overwritten or removed by mistake can be had back for a week.
  soft_delete_policy {
    retention_duration_seconds = 604800
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }

    condition {
      age = 7
    }
  }

  dynamic "encryption" {
    for_each = local.bucket_keys[each.key] == null ? [] : [local.bucket_keys[each.key]]

    content {
      default_kms_key_name = encryption.value
    }
  }

  lifecycle {
    # It holds users' files: no plan removes or replaces it.
    prevent_destroy = true
  }

  depends_on = [google_project_service.this, google_kms_crypto_key_iam_member.storage]
}

locals {
  # A created bucket has its own key, else the module's where that one lies in the same region.
  bucket_keys = {
    for name, b in local.buckets : name => (
      b.kms_key != null ? b.kms_key : lower(coalesce(b.location, var.region)) == var.region ? var.kms_key : null
    ) if b.create
  }
}

# Empty: the token itself never passes through Terraform.
resource "google_secret_manager_secret" "token" {
  count = local.create_secret ? 1 : 0

  project   = var.project
  secret_id = "${var.name}-token"
  labels    = var.labels

  replication {
    dynamic "auto" {
      for_each = length(local.secret_locations) == 0 ? [1] : []

      content {}
    }

    dynamic "user_managed" {
      for_each = length(local.secret_locations) == 0 ? [] : [1]

      content {
        dynamic "replicas" {
          for_each = local.secret_locations

          content {
            location = replicas.value

            dynamic "customer_managed_encryption" {
              for_each = local.kms ? [var.kms_key] : []

              content {
                kms_key_name = customer_managed_encryption.value
              }
            }
          }
        }
      }
    }
  }

  depends_on = [google_project_service.this, google_kms_crypto_key_iam_member.agents]
}

locals {
  # Automatic replication takes global keys only, so that a key of one region means a copy in that region.
  secret_locations = local.kms ? [var.region] : var.token_secret_locations
}
