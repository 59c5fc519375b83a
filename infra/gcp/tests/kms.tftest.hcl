mock_provider "google" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  project  = "acme-data"
  region   = "europe-west1"
  zip_file = "tests/function.zip"
  kms_key  = "projects/acme-keys/locations/europe-west1/keyRings/acme/cryptoKeys/dagbucket"
  routes = [{
    name       = "prod"
    deployment = "clmh57jtm000008lb58fe2wmv"
    sources    = [{ url = "gs://acme-dags/dags/" }]
  }]
}

run "everything_is_encrypted_with_the_key" {
  command = plan

  variables {
    buckets = { acme-dags = { create = true } }
  }

  assert {
    condition = alltrue([
      for key in [
        google_storage_bucket.state.encryption[0].default_kms_key_name,
        google_storage_bucket.source["acme-dags"].encryption[0].default_kms_key_name,
        google_pubsub_topic.events[0].kms_key_name,
        google_pubsub_topic.dead_letters[0].kms_key_name,
        google_artifact_registry_repository.this.kms_key_name,
        google_cloudfunctions2_function.this.kms_key_name,
        google_secret_manager_secret.token[0].replication[0].user_managed[0].replicas[0].customer_managed_encryption[0].kms_key_name,
      ] : key == var.kms_key
    ])
    error_message = "Every store is encrypted with the key."
  }

  assert {
    condition     = google_secret_manager_secret.token[0].replication[0].user_managed[0].replicas[*].location == tolist(["europe-west1"])
    error_message = "The secret has its copy where the key is."
  }

  assert {
    condition = toset([for grant in google_kms_crypto_key_iam_member.agents : grant.member]) == toset([
      "serviceAccount:service-123456789012@gcp-sa-artifactregistry.iam.gserviceaccount.com",
      "serviceAccount:service-123456789012@gcp-sa-eventarc.iam.gserviceaccount.com",
      "serviceAccount:service-123456789012@gcf-admin-robot.iam.gserviceaccount.com",
      "serviceAccount:service-123456789012@serverless-robot-prod.iam.gserviceaccount.com",
      "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com",
      "serviceAccount:service-123456789012@gcp-sa-secretmanager.iam.gserviceaccount.com",
    ])
    error_message = "The agent of each service that stores something may use the key."
  }

  assert {
    condition     = tolist(keys(google_kms_crypto_key_iam_member.storage)) == tolist(["state"]) && google_kms_crypto_key_iam_member.storage["state"].member == "serviceAccount:service-123456789012@gs-project-accounts.iam.gserviceaccount.com"
    error_message = "Cloud Storage's agent may use it too."
  }

  assert {
    condition = alltrue([
      for grant in concat(values(google_kms_crypto_key_iam_member.agents), values(google_kms_crypto_key_iam_member.storage)) :
      grant.role == "roles/cloudkms.cryptoKeyEncrypterDecrypter" && grant.crypto_key_id == var.kms_key
    ])
    error_message = "They encrypt and decrypt with this key, and no more."
  }

  assert {
    condition     = contains(output.required_apis, "cloudkms.googleapis.com") && contains(output.required_apis, "eventarc.googleapis.com") && length(output.prepare_commands) == 6
    error_message = "The key's API and Eventarc's are enabled, and the commands that make the agents are shown."
  }
}

run "fewer_services_fewer_grants" {
  command = plan

  variables {
    trigger      = "eventarc"
    token_secret = "projects/acme-data/secrets/astro"
  }

  assert {
    condition     = tolist(keys(google_kms_crypto_key_iam_member.agents)) == tolist(["artifactregistry", "eventarc", "functions", "run"])
    error_message = "Who stores nothing may not use the key."
  }
}

run "granted_by_others" {
  command = plan

  variables {
    kms_grants = false
  }

  assert {
    condition     = length(google_kms_crypto_key_iam_member.agents) == 0 && length(google_kms_crypto_key_iam_member.storage) == 0 && google_storage_bucket.state.encryption[0].default_kms_key_name == var.kms_key
    error_message = "The key is used, and its grants are left alone."
  }
}

run "created_bucket_with_its_own_key" {
  command = plan

  variables {
    buckets = { acme-dags = { create = true, location = "eu", kms_key = "projects/acme-keys/locations/europe/keyRings/acme/cryptoKeys/dags" } }
  }

  assert {
    condition     = google_storage_bucket.source["acme-dags"].encryption[0].default_kms_key_name == "projects/acme-keys/locations/europe/keyRings/acme/cryptoKeys/dags" && tolist(keys(google_kms_crypto_key_iam_member.storage)) == tolist(["projects/acme-keys/locations/europe/keyRings/acme/cryptoKeys/dags", "state"])
    error_message = "The bucket has its own key."
  }
}

run "two_buckets_with_one_key" {
  command = plan

  variables {
    buckets = {
      acme-dags = { create = true, location = "eu", kms_key = "projects/acme-keys/locations/europe/keyRings/acme/cryptoKeys/dags" }
      acme-ml   = { create = true, location = "eu", kms_key = "projects/acme-keys/locations/europe/keyRings/acme/cryptoKeys/dags" }
    }
  }

  assert {
    condition = (
      tolist(keys(google_kms_crypto_key_iam_member.storage)) == tolist(["projects/acme-keys/locations/europe/keyRings/acme/cryptoKeys/dags", "state"]) &&
      google_kms_crypto_key_iam_member.storage["projects/acme-keys/locations/europe/keyRings/acme/cryptoKeys/dags"].crypto_key_id == "projects/acme-keys/locations/europe/keyRings/acme/cryptoKeys/dags"
    )
    error_message = "One grant for a key: it stays while one of the buckets does."
  }
}

run "created_bucket_with_the_same_key" {
  command = plan

  variables {
    buckets = { acme-dags = { create = true, kms_key = "projects/acme-keys/locations/europe-west1/keyRings/acme/cryptoKeys/dagbucket" } }
  }

  assert {
    condition     = tolist(keys(google_kms_crypto_key_iam_member.storage)) == tolist(["state"])
    error_message = "The state's grant is the bucket's too."
  }
}

run "created_bucket_elsewhere" {
  command = plan

  variables {
    buckets = { acme-dags = { create = true, location = "US" } }
  }

  assert {
    condition     = length(google_storage_bucket.source["acme-dags"].encryption) == 0
    error_message = "A key of another region cannot be used: Google's own encrypts the bucket."
  }
}

run "googles_keys" {
  command = plan

  variables {
    kms_key = null
  }

  assert {
    condition = (
      length(google_storage_bucket.state.encryption) == 0 && google_pubsub_topic.events[0].kms_key_name == null && google_cloudfunctions2_function.this.kms_key_name == null &&
      length(google_kms_crypto_key_iam_member.agents) == 0 && !contains(output.required_apis, "eventarc.googleapis.com") &&
      output.prepare_commands == ["gcloud beta services identity create --project=acme-data --service=pubsub.googleapis.com"]
    )
    error_message = "Without a key of one's own, Google's encrypt everything."
  }
}
