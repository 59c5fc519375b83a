output "next" {
  description = "What to run before the first apply, and after it."
  value = {
    before       = module.dagbucket.prepare_commands
    token        = module.dagbucket.fill_token_command
    run          = module.dagbucket.first_run_command
    log          = module.dagbucket.log_command
    dead_letters = module.dagbucket.dead_letters_command
  }
}
