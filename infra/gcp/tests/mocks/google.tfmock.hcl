# Values as Google gives them: the real provider checks their form under mocks as well.

mock_resource "google_storage_bucket" {
  defaults = {
    project_number = 123456789012
    self_link      = "https://www.googleapis.com/storage/v1/b/acme-data-dagbucket-state"
    url            = "gs://acme-data-dagbucket-state"
  }
}

mock_resource "google_storage_bucket_object" {
  defaults = {
    generation = 1764061809000000
  }
}

mock_resource "google_storage_notification" {
  defaults = {
    id              = "acme-dags/notificationConfigs/1"
    notification_id = "1"
  }
}

mock_resource "google_cloudfunctions2_function" {
  defaults = {
    id          = "projects/acme-data/locations/europe-west1/functions/dagbucket"
    environment = "GEN_2"
    state       = "ACTIVE"
    url         = "https://europe-west1-acme-data.cloudfunctions.net/dagbucket"
    service_config = {
      uri     = "https://dagbucket-abcdefghij-ew.a.run.app"
      service = "projects/acme-data/locations/europe-west1/services/dagbucket"
    }
  }
}

mock_resource "google_artifact_registry_repository" {
  defaults = {
    id   = "projects/acme-data/locations/europe-west1/repositories/dagbucket"
    name = "dagbucket"
  }
}

mock_resource "google_service_account" {
  defaults = {
    id     = "projects/acme-data/serviceAccounts/dagbucket-any@acme-data.iam.gserviceaccount.com"
    name   = "projects/acme-data/serviceAccounts/dagbucket-any@acme-data.iam.gserviceaccount.com"
    email  = "dagbucket-any@acme-data.iam.gserviceaccount.com"
    member = "serviceAccount:dagbucket-any@acme-data.iam.gserviceaccount.com"

    unique_id = "123456789012345678901"
  }
}

override_resource {
  target = google_service_account.run
  values = {
    id     = "projects/acme-data/serviceAccounts/dagbucket-run@acme-data.iam.gserviceaccount.com"
    name   = "projects/acme-data/serviceAccounts/dagbucket-run@acme-data.iam.gserviceaccount.com"
    email  = "dagbucket-run@acme-data.iam.gserviceaccount.com"
    member = "serviceAccount:dagbucket-run@acme-data.iam.gserviceaccount.com"
  }
}

override_resource {
  target = google_service_account.build
  values = {
    id     = "projects/acme-data/serviceAccounts/dagbucket-build@acme-data.iam.gserviceaccount.com"
    name   = "projects/acme-data/serviceAccounts/dagbucket-build@acme-data.iam.gserviceaccount.com"
    email  = "dagbucket-build@acme-data.iam.gserviceaccount.com"
    member = "serviceAccount:dagbucket-build@acme-data.iam.gserviceaccount.com"
  }
}

override_resource {
  target = google_service_account.trigger
  values = {
    id     = "projects/acme-data/serviceAccounts/dagbucket-trigger@acme-data.iam.gserviceaccount.com"
    name   = "projects/acme-data/serviceAccounts/dagbucket-trigger@acme-data.iam.gserviceaccount.com"
    email  = "dagbucket-trigger@acme-data.iam.gserviceaccount.com"
    member = "serviceAccount:dagbucket-trigger@acme-data.iam.gserviceaccount.com"
  }
}

override_resource {
  target = google_pubsub_topic.events
  values = {
    id = "projects/acme-data/topics/dagbucket-events"
  }
}

override_resource {
  target = google_pubsub_topic.dead_letters
  values = {
    id = "projects/acme-data/topics/dagbucket-dead-letters"
  }
}

override_resource {
  target = google_pubsub_subscription.events
  values = {
    id = "projects/acme-data/subscriptions/dagbucket-events"
  }
}

override_resource {
  target = google_pubsub_subscription.dead_letters
  values = {
    id = "projects/acme-data/subscriptions/dagbucket-dead-letters"
  }
}

mock_resource "google_secret_manager_secret" {
  defaults = {
    id   = "projects/acme-data/secrets/dagbucket-token"
    name = "projects/123456789012/secrets/dagbucket-token"
  }
}

mock_resource "google_monitoring_notification_channel" {
  defaults = {
    id   = "projects/acme-data/notificationChannels/1"
    name = "projects/acme-data/notificationChannels/1"
  }
}

mock_resource "google_logging_project_bucket_config" {
  defaults = {
    id   = "projects/acme-data/locations/europe-west1/buckets/dagbucket-function-log"
    name = "projects/acme-data/locations/europe-west1/buckets/dagbucket-function-log"
  }
}

mock_data "google_storage_project_service_account" {
  defaults = {
    id            = "service-123456789012@gs-project-accounts.iam.gserviceaccount.com"
    email_address = "service-123456789012@gs-project-accounts.iam.gserviceaccount.com"
    member        = "serviceAccount:service-123456789012@gs-project-accounts.iam.gserviceaccount.com"
  }
}

mock_resource "google_kms_crypto_key" {
  defaults = {
    id = "projects/acme-keys/locations/europe-west1/keyRings/acme/cryptoKeys/dagbucket"
  }
}

mock_resource "google_pubsub_topic" {
  defaults = {
    id = "projects/acme-data/topics/dagbucket-any"
  }
}

mock_resource "google_pubsub_subscription" {
  defaults = {
    id = "projects/acme-data/subscriptions/dagbucket-any"
  }
}
